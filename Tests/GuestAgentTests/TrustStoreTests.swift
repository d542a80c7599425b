import Foundation
import GuestProtocol
import LinuxSystem
import Testing

@testable import GuestAgent

@Suite struct TrustStoreTests {
    private static let bundlePath = "/etc/ssl/certs/ca-certificates.crt"
    private static let system = "-----BEGIN CERTIFICATE-----\nc3lzdGVt\n-----END CERTIFICATE-----\n"
    private static func certificate(_ body: String) -> [UInt8] {
        Array("-----BEGIN CERTIFICATE-----\n\(body)\n-----END CERTIFICATE-----\n".utf8)
    }

    /// A root file system with nothing but what counts here.
    private func withRoot(_ body: (String) throws -> Void) throws {
        let root = NSTemporaryDirectory() + "martlet-trust-\(UUID().uuidString.prefix(8))"
        for folder in ["/run/martlet", "/etc/ssl/certs", "/usr/local/share/ca-certificates"] {
            try FileManager.default.createDirectory(atPath: root + folder, withIntermediateDirectories: true)
        }
        defer { try? FileManager.default.removeItem(atPath: root) }
        try body(root)
    }

    private func read(_ path: String) throws -> String { try String(contentsOfFile: path, encoding: .utf8) }

    @Test func `the authority is added to the system's, and another one takes its place`() throws {
        try withRoot { root in
            try Self.system.write(toFile: root + Self.bundlePath, atomically: true, encoding: .utf8)
            try TrustStore(root: root).trust(Self.certificate("Zmlyc3Q="))
            try TrustStore(root: root).trust(Self.certificate("c2Vjb25k"))
            let bundle = try read(root + GuestTrust.bundle)
            #expect(bundle.hasPrefix(Self.system))
            #expect(bundle.contains("c2Vjb25k") && !bundle.contains("Zmlyc3Q="))
            #expect(try read(root + Self.bundlePath) == bundle)
            #expect(
                try read(root + GuestTrust.certificate) == String(decoding: Self.certificate("c2Vjb25k"), as: UTF8.self)
            )
            #expect(try read(root + "/usr/local/share/ca-certificates/martlet.crt").contains("c2Vjb25k"))
            // A bundle made anew has the local authority among the others, without marks.
            let made = String(decoding: Self.certificate("c2Vjb25k"), as: UTF8.self) + Self.system
            try made.write(toFile: root + Self.bundlePath, atomically: true, encoding: .utf8)
            try FileManager.default.removeItem(atPath: root + GuestTrust.certificate)
            try TrustStore(root: root).trust(Self.certificate("dGhpcmQ="))
            #expect(try !read(root + Self.bundlePath).contains("c2Vjb25k"))
            #expect(try read(root + Self.bundlePath).hasPrefix(Self.system))
            // The last line of what was there is not grown together with ours.
            try String(Self.system.dropLast()).write(toFile: root + Self.bundlePath, atomically: true, encoding: .utf8)
            try TrustStore(root: root).trust(Self.certificate("dGhpcmQ="))
            #expect(try read(root + GuestTrust.bundle).hasPrefix(Self.system))
        }
    }

    @Test func `an image without a bundle trusts the authority alone`() throws {
        try withRoot { root in
            try TrustStore(root: root).trust(Self.certificate("Zmlyc3Q="))
            #expect(try read(root + GuestTrust.bundle).contains("Zmlyc3Q="))
            #expect(!FileManager.default.fileExists(atPath: root + Self.bundlePath))
        }
    }

    @Test(arguments: ["directory", "pipe", "device", "huge"])
    func `whatever a program has put where the bundle was, nobody waits for it`(kind: String) throws {
        try withRoot { root in
            let path = root + Self.bundlePath
            switch kind {
            case "directory": mkdir(path, 0o755)
            case "pipe": mkfifo(path, 0o644)
            case "device": symlink("/dev/zero", path)
            default:
                _ = FileManager.default.createFile(atPath: path, contents: nil)
                truncate(path, 1 << 40)
            }
            try TrustStore(root: root).trust(Self.certificate("Zmlyc3Q="))
            #expect(try read(root + GuestTrust.bundle).contains("Zmlyc3Q="))
        }
    }

    @Test(arguments: [
        "", "nonsense", "-----BEGIN CERTIFICATE-----\nYQ==\n",
        "-----BEGIN CERTIFICATE-----\n\u{1B}\n-----END CERTIFICATE-----\n",
        "-----BEGIN CERTIFICATE-----\n" + String(repeating: "A", count: GuestTrust.maxBytes)
            + "\n-----END CERTIFICATE-----\n",
    ])
    func `what is no certificate is refused, and changes nothing`(text: String) throws {
        try withRoot { root in
            try Self.system.write(toFile: root + Self.bundlePath, atomically: true, encoding: .utf8)
            let error = #expect(throws: SystemError.self) { try TrustStore(root: root).trust(Array(text.utf8)) }
            #expect(error?.errno == EINVAL)
            #expect(try read(root + Self.bundlePath) == Self.system)
        }
    }
}
