import CLinux
import Foundation
import Glibc
import LinuxSystem
import MartletAPI
import MartletClient
import SandboxModel
import Testing

@Suite(.serialized, .requiresDaemon, .timeLimit(.minutes(5))) struct BadInputTests {
    private func code(_ body: () async throws -> Void) async -> MartletError.Code? {
        do {
            try await body()
            return nil
        } catch {
            return (error as? MartletError)?.code
        }
    }

    @Test func `a wall weaker than the operator allows is refused, asked for or not`() async throws {
        try await DaemonFixture.with(["--no-pool", "--minimum-isolation", "user-kernel"]) { fixture in
            var weaker: [String?] = ["process"]
            let microVM = try await fixture.client.host().engines.first { $0.name == "qemu" }
            if microVM?.level == .emulatedVM { weaker += [nil, "microvm"] }
            for isolation in weaker {
                let error = await #expect(throws: MartletError.self) {
                    try await fixture.create(CreateSandboxRequest(isolation: isolation))
                }
                #expect(error?.code == .permissionDenied, "\(isolation ?? "auto"): \(String(describing: error))")
                #expect(error?.message.contains("user-kernel") == true, "\(String(describing: error))")
            }
            #expect(fixture.machineDirectories().isEmpty)
        }
    }

    @Test func `what cannot be made is refused by name and the daemon stays up`() async throws {
        try await DaemonFixture.with { fixture in
            let client = fixture.client
            #expect(
                await code { _ = try await client.createSandbox(CreateSandboxRequest(template: "nope")) } == .notFound)
            #expect(
                await code { _ = try await client.createSandbox(CreateSandboxRequest(template: "../../etc")) } != nil)
            for memory in [0, -1, 1, 999_999_999] {
                #expect(
                    await code { _ = try await client.createSandbox(CreateSandboxRequest(memoryMiB: memory)) }
                        == .invalidArgument)
            }
            #expect(
                await code { _ = try await client.createSandbox(CreateSandboxRequest(cpus: 5000)) } == .invalidArgument)
            #expect(
                await code { _ = try await client.createSandbox(CreateSandboxRequest(diskMiB: 1)) } == .invalidArgument)
            #expect(
                await code { _ = try await client.createSandbox(CreateSandboxRequest(isolation: "firecracker")) }
                    == .unsupported)
            let sandbox = try await fixture.create()
            #expect(
                await code { _ = try await client.upload(sandbox.id, "/../../etc/passwd", bytes: [1]) }
                    == .invalidArgument)
            #expect(await code { _ = try await client.fileInfo(sandbox.id, "/no/such") } == .notFound)
            #expect(try await fixture.output(sandbox, "echo up") == "up")
        }
    }

    @Test func `bodies that are too large, cut off or no JSON at all are refused`() async throws {
        try await DaemonFixture.with { fixture in
            let socket = try Descriptor.openDirectory(fixture.data)
            func answer(_ head: String, _ body: [UInt8], closes: Bool = false) throws -> String {
                let connection = try UnixSocket.connect(in: socket, name: "api.sock")
                try connection.writeAll(Array(head.utf8))
                // A server that has seen enough may close while we are still sending.
                try? connection.writeAll(body)
                if closes { shutdown(connection.number, Int32(SHUT_WR)) }
                return String(decoding: try connection.read(upTo: 65_536), as: UTF8.self)
            }
            let post = "POST /v1/sandboxes HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            let huge = [UInt8](repeating: UInt8(ascii: "["), count: 100 << 20)
            #expect(try answer(post + "Content-Length: \(huge.count)\r\n\r\n", huge).hasPrefix("HTTP/1.1 413"))
            #expect(try answer(post + "Content-Length: 7\r\n\r\n", Array("{\"cpus\"".utf8)).hasPrefix("HTTP/1.1 400"))
            let mangled = Array("{\"name\":\"".utf8) + [0xff, 0xfe] + Array("\"}".utf8)
            #expect(try answer(post + "Content-Length: \(mangled.count)\r\n\r\n", mangled).hasPrefix("HTTP/1.1 400"))
            let unknown = Array("{\"cpu\": 1}".utf8)
            let refusal = try answer(post + "Content-Length: \(unknown.count)\r\n\r\n", unknown)
            #expect(refusal.hasPrefix("HTTP/1.1 400"))
            #expect(refusal.contains("cpu"))
            _ = try answer(post + "Content-Length: 1000\r\n\r\n", Array("{\"cpus\":".utf8), closes: true)
            let sandbox = try await fixture.create()
            #expect(try await fixture.output(sandbox, "echo up") == "up")
        }
    }

    @Test func `a client that leaves in the middle of a stream leaves the process running`() async throws {
        try await DaemonFixture.with { fixture in
            let sandbox = try await fixture.create()
            let process = try await fixture.client.startProcess(
                sandbox.id, StartProcessRequest(cmd: .shell("while :; do echo y; sleep 0.01; done")))
            for try await _ in fixture.client.processEvents(sandbox.id, process.pid) { break }
            #expect(try await fixture.client.process(sandbox.id, process.pid).running)
            #expect(try await fixture.output(sandbox, "echo up") == "up")
        }
    }

    @Test func `arguments that are not UTF-8 are refused with a reason`() async throws {
        try await DaemonFixture.with { fixture in
            let outcome = try await fixture.cli("create")
            let id = outcome.output.trimmingCharacters(in: .whitespacesAndNewlines)
            // A shell makes the byte, since Swift's strings cannot hold it.
            let script = "exec \"$0\" exec \"$1\" -- echo \"$(printf '\\377')\""
            let log = try Descriptor.open("\(fixture.data)/bad-utf8", O_RDWR | O_CREAT)
            let child = try ChildProcess.spawn(
                SpawnRequest(
                    program: "/bin/sh", arguments: ["sh", "-c", script, DaemonFixture.program, id],
                    environment: DaemonFixture.environment(fixture.data), descriptors: [nil, log.number, log.number]))
            var status: Int32 = 0
            waitpid(child.pid, &status, 0)
            #expect((status >> 8) & 0xff == 125)
            let said = String(decoding: try AtomicFile.read("\(fixture.data)/bad-utf8"), as: UTF8.self)
            #expect(said.contains("UTF-8"))
        }
    }

    @Test func `a full data disk is an error of the create, and nothing stored is lost`() async throws {
        let directory = NSTemporaryDirectory() + "martlet-full-\(UUID().uuidString.prefix(8))"
        try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
        try SystemError.check(clinux_mount("tmpfs", directory, "tmpfs", 0, "size=96m"), "mount", directory)
        defer {
            umount2(directory, Int32(MNT_DETACH))
            try? FileManager.default.removeItem(atPath: directory)
        }
        try await DaemonFixture.with(in: directory) { fixture in
            let first = try await fixture.create()
            let filler = try Descriptor.open("\(directory)/filler", O_WRONLY | O_CREAT)
            while (try? filler.writeAll([UInt8](repeating: 1, count: 4096))) != nil {}
            let refused = await code { _ = try await fixture.create() }
            #expect(refused == .resourceExhausted)
            #expect(try await fixture.output(first, "echo up") == "up")
            filler.close()
            unlink("\(directory)/filler")
            let second = try await fixture.create()
            #expect(try await fixture.output(second, "echo up") == "up")
            #expect(try await fixture.client.allSandboxes().count == 2)
        }
    }
}
