import Foundation
import Glibc
import Testing

/// One kind of isolation, as clients ask for it.
enum Wall: String, Sendable, CaseIterable, CustomTestStringConvertible {
    case microvm, firecracker, gvisor, process

    var testDescription: String { rawValue }
    /// The engine that is expected behind it.
    var engine: String {
        switch self {
        case .microvm: "qemu"
        case .firecracker: "firecracker"
        case .gvisor: "gvisor"
        case .process: "bubblewrap"
        }
    }

    /// Whether its programs run on a kernel of their own.
    var hasOwnKernel: Bool { self == .microvm || self == .firecracker }

    /// What a machine of it cannot do, by the names of capabilities.
    var capabilities: Set<String> {
        switch self {
        case .microvm, .firecracker: ["disk-growth", "fork", "network", "pause", "reboot", "snapshots"]
        case .gvisor: ["disk-growth", "fork", "network", "pause", "snapshots"]
        case .process: ["disk-growth", "network"]
        }
    }

    /// Whether what it takes is installed; `martlet doctor` says more.
    var isInstalled: Bool {
        switch self {
        case .microvm: true
        case .firecracker: geteuid() == 0 && Wall.firecracker("firecracker") != nil && Wall.hasKVM
        case .gvisor: geteuid() == 0 && Wall.has("runsc")
        case .process: geteuid() == 0 && Wall.has("bwrap")
        }
    }

    /// The path of Firecracker or its jailer, as scripts/install-dependencies --tests fetches them, or as installed.
    static func firecracker(_ name: String) -> String? {
        (["\(DaemonFixture.repository)/.cache/firecracker", "/usr/local/bin", "/usr/bin"].map { "\($0)/\(name)" })
            .first { access($0, X_OK) == 0 }
    }

    /// Whether the processor virtualises, and lets us: what is there of `/dev/kvm` otherwise starts guests that get nowhere.
    static let hasKVM: Bool = {
        let facts = (try? String(contentsOfFile: "/proc/cpuinfo", encoding: .utf8)) ?? ""
        let flags = facts.split(separator: "\n").first { $0.hasPrefix("flags") }?.split(separator: " ") ?? []
        return (flags.contains("vmx") || flags.contains("svm")) && access("/dev/kvm", R_OK | W_OK) == 0
    }()

    private static func has(_ program: String) -> Bool {
        ["/usr/bin", "/usr/local/bin", "/bin"].contains { access("\($0)/\(program)", X_OK) == 0 }
    }
}

extension Trait where Self == ConditionTrait {
    static func requires(_ wall: Wall) -> Self {
        .enabled(
            if: wall.isInstalled,
            wall == .firecracker && !Wall.hasKVM
                ? "isolation 'firecracker' takes KVM, and this processor does not virtualise"
                : "what isolation '\(wall.rawValue)' takes is not installed, or this is not root")
    }
}
