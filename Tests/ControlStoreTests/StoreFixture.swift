import ControlStore
import Glibc
import SandboxModel
import Testing

/// A directory of a test's own, gone when the test is over.
final class Scratch: Sendable {
    let path: String

    init() throws {
        var template = Array("/tmp/martlet-store-XXXXXX".utf8CString)
        path = try #require(mkdtemp(&template).map { String(cString: $0) })
    }

    deinit {
        guard let directory = opendir(path) else { return }
        while let entry = readdir(directory) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            unlink("\(path)/\(name)")
        }
        closedir(directory)
        rmdir(path)
    }

    func write(_ bytes: [UInt8], to name: String) {
        let file = open("\(path)/\(name)", O_WRONLY | O_CREAT | O_TRUNC, 0o600)
        _ = bytes.withUnsafeBytes { Glibc.write(file, $0.baseAddress, $0.count) }
        close(file)
    }

    func read(_ name: String) -> [UInt8] {
        let file = open("\(path)/\(name)", O_RDONLY)
        defer { close(file) }
        return [UInt8](unsafeUninitializedCapacity: 1 << 20) { buffer, count in
            count = max(0, Glibc.read(file, buffer.baseAddress, buffer.count))
        }
    }

    func mode(_ name: String) -> mode_t? {
        var facts = stat()
        return stat("\(path)/\(name)", &facts) == 0 ? facts.st_mode & 0o777 : nil
    }
}

func sandbox(
    _ id: SandboxID = .random(), name: String? = nil, state: SandboxState = .running, keyID: String? = nil,
    at time: Int64 = 1_700_000_000_000
) -> SandboxRecord {
    SandboxRecord(
        id: id, keyID: keyID, name: name, template: "base", state: state, reason: state == .failed ? "why" : nil,
        isolation: Isolation(engine: "qemu", accelerator: "tcg", level: .emulatedVM), cpus: 2, memoryMiB: 256,
        diskMiB: 2048, createdAt: Timestamp(milliseconds: time), expiresAt: Timestamp(milliseconds: time + 300_000),
        timeoutSeconds: 300, metadata: ["k": "v", "quote": "a\"b\u{1F426}"], parent: nil, fromSnapshot: nil,
        report: CreateReport(mode: .warm, totalMilliseconds: 9.25, phases: ["thaw": 8.5]))
}

func event(_ id: SandboxID, _ message: String = "made") -> EventRecord {
    EventRecord(
        sandboxID: id, time: Timestamp(milliseconds: 1), kind: "state", message: message, details: ["to": "running"])
}

func key(_ id: String, byte: UInt8 = 1) -> KeyRecord {
    KeyRecord(
        id: id, hash: [UInt8](repeating: byte, count: 32), label: "test", isAdmin: false,
        createdAt: Timestamp(milliseconds: 5), maxSandboxes: 3)
}
