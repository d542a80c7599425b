import FoundationEssentials
import Glibc
import LinuxSystem
import SandboxModel
import Testing

@testable import OCIRuntime

@Suite struct ContainerDirectoryTests {
    private static func with(_ body: (ContainerDirectory) throws -> Void) throws {
        let root = FileManager.default.temporaryDirectory.path + "/oci-\(UUID().uuidString)"
        defer { try? FileManager.default.removeItem(atPath: root) }
        try body(ContainerDirectory(root: root, id: "one"))
    }

    private static func record(_ shim: ProcessHandle.Identity?) -> ContainerRecord {
        ContainerRecord(
            id: "one", bundle: "/b", annotations: ["a": "b"], sandbox: "oci-1", data: nil, terminal: false, shim: shim)
    }

    @Test func `a container's life shows in its status`() throws {
        try Self.with { directory in
            try directory.make()
            #expect { try directory.make() } throws: { ($0 as? MartletError)?.code == .conflict }
            try directory.write(Self.record(nil))
            #expect(directory.status(try directory.read()) == "creating")
            let own = try ProcessHandle.open(pid: getpid()).identity
            try directory.write(Self.record(own))
            #expect(directory.status(try directory.read()) == "created")
            try directory.markStarted()
            #expect(directory.status(try directory.read()) == "running")
            var other = own
            other.startTime += 1
            try directory.write(Self.record(other))
            #expect(directory.status(try directory.read()) == "stopped", "a recycled pid is another process")
            directory.remove()
            #expect { try directory.read() } throws: { ($0 as? MartletError)?.code == .notFound }
        }
    }

    @Test func `a damaged record and a missing process are errors`() throws {
        try Self.with { directory in
            try directory.make()
            try AtomicFile.write(Array("{".utf8), to: directory.path + "/state.json", durable: false)
            #expect { try directory.read() } throws: { ($0 as? MartletError)?.code == .internal }
            #expect { try directory.ask("start") } throws: { ($0 as? MartletError)?.code == .failedPrecondition }
        }
    }
}
