import Foundation
import Glibc
import LinuxSystem
import NIOPosix
import SandboxModel

/// Programs of this machine that tests use as users would.
enum Program {
    private static let search = "PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"

    /// Runs a program to its end.
    static func run(_ name: String, _ arguments: [String], input: [UInt8] = []) async throws -> DaemonFixture.Outcome {
        let base = NSTemporaryDirectory() + "martlet-program-\(UUID().uuidString)"
        return try await NIOThreadPool.singleton.runIfActive {
            let files = ["in", "out", "err"].map { "\(base).\($0)" }
            defer { for file in files { unlink(file) } }
            try AtomicFile.write(input, to: files[0], durable: false)
            let source = try Descriptor.open(files[0], O_RDONLY)
            let output = try Descriptor.open(files[1], O_RDWR | O_CREAT)
            let errors = try Descriptor.open(files[2], O_RDWR | O_CREAT)
            let child = try ChildProcess.spawn(
                SpawnRequest(
                    program: path(name), arguments: [name] + arguments, environment: [search],
                    descriptors: [source.number, output.number, errors.number]))
            withExtendedLifetime((source, output, errors)) {}
            let code = wait(child.pid)
            return DaemonFixture.Outcome(
                code: code, output: String(decoding: try AtomicFile.read(files[1]), as: UTF8.self),
                errors: String(decoding: try AtomicFile.read(files[2]), as: UTF8.self))
        }
    }

    /// Runs a program beside `body`, which gets the first line it prints, and stops it with SIGTERM afterwards.
    static func background(
        _ program: String, _ arguments: [String], environment: [String], _ body: (String) async throws -> Void
    ) async throws {
        var ends: [Int32] = [-1, -1]
        guard pipe(&ends) == 0 else { throw SystemError("pipe", "test", errno: errno) }
        let (reader, writer) = (Descriptor(owning: ends[0]), Descriptor(owning: ends[1]))
        let child = try ChildProcess.spawn(
            SpawnRequest(
                program: program, arguments: [program] + arguments, environment: environment,
                descriptors: [nil, writer.number, nil]))
        writer.close()
        var outcome: Result<Void, any Error> = .success(())
        do {
            let line = try await NIOThreadPool.singleton.runIfActive {
                var bytes: [UInt8] = []
                while !bytes.contains(10) {
                    let piece = try reader.read(upTo: 4096)
                    guard !piece.isEmpty else { break }
                    bytes += piece
                }
                return String(decoding: bytes, as: UTF8.self)
            }
            try await body(line)
        } catch {
            outcome = .failure(error)
        }
        kill(child.pid, SIGTERM)
        _ = try await NIOThreadPool.singleton.runIfActive { wait(child.pid) }
        try outcome.get()
    }

    private static func path(_ name: String) -> String {
        ["/usr/local/bin", "/usr/bin", "/bin"].map { "\($0)/\(name)" }.first { access($0, X_OK) == 0 } ?? name
    }

    private static func wait(_ pid: Int32) -> Int32 {
        var status: Int32 = 0
        while waitpid(pid, &status, 0) < 0, errno == EINTR {}
        return status & 0x7f == 0 ? (status >> 8) & 0xff : 128 + (status & 0x7f)
    }
}
