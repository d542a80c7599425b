// swift-tools-version:6.2
import PackageDescription

let settings: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .treatAllWarnings(as: .error),
    // Tests look inside modules, and run on the very build that is used: one configuration, built once.
    .unsafeFlags(["-enable-testing"], .when(configuration: .release)),
]

let cSettings: [CSetting] = [.unsafeFlags(["-Wall", "-Wextra", "-Werror"])]

func room(_ name: String, _ dependencies: [Target.Dependency] = []) -> Target {
    .target(name: name, dependencies: dependencies, swiftSettings: settings)
}

func tests(_ name: String, _ dependencies: [Target.Dependency], exclude: [String] = []) -> Target {
    // Not optimised: Swift 6.3.1 crashes while it splits some of the tests' larger coroutines.
    .testTarget(
        name: name, dependencies: dependencies, exclude: exclude,
        swiftSettings: settings + [.unsafeFlags(["-Onone"], .when(configuration: .release))])
}

extension Target.Dependency {
    static let nioCore = product(name: "NIOCore", package: "swift-nio")
    static let nioPosix = product(name: "NIOPosix", package: "swift-nio")
    static let nioTLS = product(name: "NIOTLS", package: "swift-nio")
    static let nioSSL = product(name: "NIOSSL", package: "swift-nio-ssl")
    static let x509 = product(name: "X509", package: "swift-certificates")
    static let asn1 = product(name: "SwiftASN1", package: "swift-asn1")
    static let nioHTTP1 = product(name: "NIOHTTP1", package: "swift-nio")
    static let logging = product(name: "Logging", package: "swift-log")
    static let metrics = product(name: "Metrics", package: "swift-metrics")
    static let crypto = product(name: "Crypto", package: "swift-crypto")
    static let yams = product(name: "Yams", package: "Yams")
    static let grdb = product(name: "GRDB", package: "GRDB.swift")
    static let hummingbird = product(name: "Hummingbird", package: "hummingbird")
    static let hummingbirdTesting = product(name: "HummingbirdTesting", package: "hummingbird")
    static let httpTypes = product(name: "HTTPTypes", package: "swift-http-types")
    static let lifecycle = product(name: "ServiceLifecycle", package: "swift-service-lifecycle")
    static let unixSignals = product(name: "UnixSignals", package: "swift-service-lifecycle")
    static let asyncHTTPClient = product(name: "AsyncHTTPClient", package: "async-http-client")
    static let arguments = product(name: "ArgumentParser", package: "swift-argument-parser")
    static let subprocess = product(name: "Subprocess", package: "swift-subprocess")
    static let systemPackage = product(name: "SystemPackage", package: "swift-system")
}

let package = Package(
    name: "martlet",
    products: [
        .executable(name: "martlet", targets: ["martlet"]),
        .executable(name: "martlet-oci", targets: ["martlet-oci"]),
        .executable(name: "martlet-guest", targets: ["martlet-guest"]),
        .executable(name: "martlet-jailer", targets: ["martlet-jailer"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", exact: "1.8.2"),
        .package(url: "https://github.com/apple/swift-asn1", exact: "1.7.4"),
        .package(url: "https://github.com/apple/swift-certificates", exact: "1.21.1"),
        .package(url: "https://github.com/apple/swift-crypto", exact: "4.5.2"),
        .package(url: "https://github.com/apple/swift-http-types", exact: "1.8.0"),
        .package(url: "https://github.com/apple/swift-log", exact: "1.16.2"),
        .package(url: "https://github.com/apple/swift-metrics", exact: "2.13.0"),
        .package(url: "https://github.com/apple/swift-nio", exact: "2.101.2"),
        .package(url: "https://github.com/apple/swift-nio-ssl", exact: "2.37.6"),
        .package(url: "https://github.com/apple/swift-system", exact: "1.8.1"),
        .package(url: "https://github.com/groue/GRDB.swift", exact: "7.10.0"),
        .package(url: "https://github.com/hummingbird-project/hummingbird", exact: "2.28.1", traits: []),
        .package(url: "https://github.com/jpsim/Yams", exact: "6.2.2"),
        .package(url: "https://github.com/swift-server/async-http-client", exact: "1.37.0"),
        .package(url: "https://github.com/swift-server/swift-service-lifecycle", exact: "2.13.0"),
        .package(url: "https://github.com/swiftlang/swift-subprocess", exact: "1.0.2"),
    ],
    targets: [
        .target(name: "CLinux", cSettings: cSettings),
        .target(name: "CGuestBoot", cSettings: cSettings),
        .target(name: "CInflate", cSettings: cSettings, linkerSettings: [.linkedLibrary("z")]),
        room("LinuxSystem", ["CLinux"]),
        room("Jail", ["LinuxSystem", "CLinux"]),
        room("SandboxModel"),
        room("GuestProtocol"),
        room("GuestAgent", ["GuestProtocol", "LinuxSystem", "CLinux"]),
        room("GuestClient", ["GuestProtocol", "SandboxModel", .nioCore, .nioPosix, .logging]),
        room("SandboxEngine", ["SandboxModel", "GuestClient", "LinuxSystem", "CLinux", .logging]),
        room(
            "QEMUEngine",
            [
                "SandboxEngine", "Jail", "LinuxSystem", "CLinux", "GuestClient", .nioCore, .nioPosix, .logging, .crypto,
                .subprocess, .systemPackage,
            ]),
        room(
            "ContainerEngine",
            [
                "SandboxEngine", "SandboxModel", "LinuxSystem", "CLinux", "GuestClient", .nioCore, .nioPosix, .logging,
                .subprocess, .systemPackage,
            ]),
        room(
            "BubblewrapEngine",
            [
                "ContainerEngine", "SandboxEngine", "SandboxModel", "LinuxSystem", "CLinux", .nioPosix, .logging,
                .subprocess, .systemPackage,
            ]),
        room(
            "GVisorEngine",
            [
                "ContainerEngine", "SandboxEngine", "SandboxModel", "LinuxSystem", "CLinux", .nioPosix, .logging,
                .subprocess, .systemPackage,
            ]),
        room(
            "FirecrackerEngine",
            [
                "SandboxEngine", "SandboxModel", "LinuxSystem", "CLinux", "GuestClient", .nioCore, .nioPosix, .nioHTTP1,
                .logging, .crypto, .subprocess, .systemPackage,
            ]),
        room("ImageStore", ["SandboxModel", "LinuxSystem", .yams, .crypto, .subprocess, .systemPackage, .logging]),
        room(
            "HostNetwork",
            [
                "SandboxModel", "LinuxSystem", "CLinux", .nioCore, .nioPosix, .nioHTTP1, .nioTLS, .nioSSL, .x509, .asn1,
                .crypto, .logging, .lifecycle,
            ]),
        room(
            "Node",
            [
                "SandboxEngine", "SandboxModel", "ImageStore", "HostNetwork", "LinuxSystem", "CLinux", "GuestClient",
                "GuestProtocol",
                .nioPosix, .logging, .metrics, .lifecycle,
            ]),
        room("ControlStore", ["SandboxModel", "LinuxSystem", .grdb, .crypto]),
        room("ControlPlane", ["Node", "ControlStore", "MartletAPI", .logging, .metrics, .lifecycle, .crypto]),
        room("MartletAPI", ["SandboxModel"]),
        room("E2BProtocol", ["CInflate", .crypto]),
        room(
            "Server",
            ["ControlPlane", "MartletAPI", "E2BProtocol", .hummingbird, .httpTypes, .metrics, .logging, .lifecycle]),
        room(
            "MartletClient", ["MartletAPI", "SandboxModel", .asyncHTTPClient, .nioCore, .nioPosix, .nioHTTP1, .nioSSL]),
        room(
            "MartletBench",
            [
                "MartletClient", "MartletAPI", "SandboxModel", "LinuxSystem", "CLinux", "ImageStore", "GuestClient",
                "GuestProtocol", "QEMUEngine", .nioCore, .nioPosix, .logging, .crypto,
            ]),
        room(
            "MartletCommands",
            [
                "MartletClient", "MartletAPI", "MartletBench", "Server", "ControlPlane", "ControlStore", "Node",
                "HostNetwork", "QEMUEngine", "FirecrackerEngine", "ContainerEngine", "BubblewrapEngine", "GVisorEngine",
                "SandboxEngine", "SandboxModel", "GuestProtocol", "ImageStore",
                "LinuxSystem", "CLinux",
                .arguments, .logging, .metrics, .lifecycle, .unixSignals, .nioCore, .nioPosix,
            ]),
        room(
            "OCIRuntime", ["MartletClient", "MartletAPI", "SandboxModel", "LinuxSystem", "CLinux", .nioCore]),
        .executableTarget(name: "martlet-oci", dependencies: ["OCIRuntime"], swiftSettings: settings),
        .executableTarget(name: "martlet", dependencies: ["MartletCommands"], swiftSettings: settings),
        .executableTarget(
            name: "martlet-guest", dependencies: ["GuestAgent", "CGuestBoot", "LinuxSystem"], swiftSettings: settings),
        .executableTarget(name: "martlet-jailer", dependencies: ["Jail", "LinuxSystem"], swiftSettings: settings),
        tests("GuestProtocolTests", ["GuestProtocol"]),
        tests("LinuxSystemTests", ["LinuxSystem", "CLinux"]),
        tests("JailTests", ["Jail", "LinuxSystem", "CLinux", "martlet-jailer"]),
        tests("GuestAgentTests", ["GuestAgent", "GuestProtocol", "LinuxSystem", "CLinux", "martlet-guest"]),
        tests(
            "GuestClientTests",
            [
                "SandboxEngine", "GuestClient", "GuestAgent", "GuestProtocol", "LinuxSystem", "CLinux", "SandboxModel",
                .nioCore, .nioPosix, .logging,
            ]),
        tests(
            "HostNetworkTests",
            [
                "HostNetwork", "SandboxModel", "LinuxSystem", "CLinux", .nioCore, .nioPosix, .nioHTTP1, .nioTLS,
                .nioSSL, .x509, .asn1, .crypto, .logging, .lifecycle,
            ], exclude: ["Fixtures"]),
        tests(
            "NodeTests",
            [
                "Node", "HostNetwork", "QEMUEngine", "SandboxEngine", "ImageStore", "GuestClient", "GuestProtocol",
                "SandboxModel",
                "LinuxSystem", .nioCore, .nioPosix, .lifecycle, .logging,
            ]),
        tests(
            "IntegrationTests",
            [
                "MartletClient", "MartletAPI", "SandboxModel", "LinuxSystem", "CLinux", "martlet-oci", .nioCore,
                .nioPosix,
            ]),
        // Takes QEMU's place in its jail, and tries to get out.
        .executableTarget(name: "jail-probe", path: "Tests/JailProbe", cSettings: cSettings),
        tests("QEMUEngineTests", ["QEMUEngine", "SandboxModel", "LinuxSystem", "CLinux", "jail-probe"]),
        tests(
            "GVisorEngineTests",
            [
                "GVisorEngine", "ContainerEngine", "SandboxEngine", "SandboxModel", "LinuxSystem", .logging, .nioPosix,
            ]),
        tests(
            "FirecrackerEngineTests",
            [
                "FirecrackerEngine", "SandboxEngine", "SandboxModel", "GuestClient", "LinuxSystem", "CLinux", .nioCore,
                .nioPosix, .logging,
            ]),
        tests("SandboxEngineTests", ["SandboxEngine", "SandboxModel", "LinuxSystem"]),
        tests("ImageStoreTests", ["ImageStore", "SandboxModel", "LinuxSystem", .logging]),
        tests("SandboxModelTests", ["SandboxModel"]),
        tests("MartletAPITests", ["MartletAPI", "SandboxModel"]),
        tests("E2BProtocolTests", ["E2BProtocol"]),
        tests(
            "MartletBenchTests",
            [
                "MartletBench", "MartletCommands", "MartletClient", "SandboxModel", "LinuxSystem", "martlet",
                .arguments, .nioCore, .crypto,
            ]),
        tests("OCIRuntimeTests", ["OCIRuntime", "SandboxModel", "LinuxSystem", "martlet-oci"]),
        tests("ControlStoreTests", ["ControlStore", "SandboxModel", .grdb]),
        tests(
            "ControlPlaneTests",
            [
                "ControlPlane", "ControlStore", "Node", "HostNetwork", "GuestAgent", "GuestClient", "GuestProtocol",
                "MartletAPI", "SandboxModel", "LinuxSystem", "CLinux", .nioPosix, .lifecycle, .logging,
            ]),
        tests(
            "ServerTests",
            [
                "Server", "ControlPlane", "ControlStore", "Node", "HostNetwork", "GuestAgent", "GuestClient",
                "GuestProtocol", "MartletAPI", "SandboxModel", "LinuxSystem", "CLinux", .nioCore, .nioPosix, .lifecycle,
                .logging,
                .metrics, .httpTypes, .hummingbird, .hummingbirdTesting, .asyncHTTPClient, .yams,
            ]),
        tests(
            "MartletClientTests",
            ["MartletClient", "MartletAPI", "SandboxModel", "LinuxSystem", .nioCore, .nioPosix]),
        tests(
            "MartletCommandsTests",
            [
                "MartletCommands", "MartletClient", "MartletAPI", "HostNetwork", "Server", "SandboxModel",
                "LinuxSystem",
                "martlet",
                .arguments, .logging,
            ]),
    ]
)
