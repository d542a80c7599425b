import Glibc
import LinuxSystem
import NIOCore
import SandboxModel

/// A directory of the host as an archive, made while it is read.
struct RootStream: AsyncSequence, Sendable {
    private let output: Descriptor
    private let child: ChildProcess
    private let path: String

    /// Begins to archive a directory: ids as numbers, links and devices as such, nothing mounted on top.
    init(_ path: String) throws {
        var ends: [Int32] = [-1, -1]
        try SystemError.check(clinuxPipe(&ends), "pipe", "tar")
        output = Descriptor(owning: ends[0])
        let writer = Descriptor(owning: ends[1])
        self.path = path
        child = try ChildProcess.spawn(
            SpawnRequest(
                program: "/usr/bin/env",
                arguments: [
                    "env", "tar", "--create", "--file=-", "--numeric-owner", "--one-file-system", "--sparse",
                    "--xattrs", "--directory", path, ".",
                ],
                environment: ["PATH=/usr/local/bin:/usr/bin:/bin", "LC_ALL=C"],
                descriptors: [nil, writer.number, 2]))
        writer.close()
    }

    /// Ends the archiver if it still runs and throws if it failed.
    func finish() throws(MartletError) {
        output.close()
        var status: Int32 = 0
        while waitpid(child.pid, &status, 0) < 0, errno == EINTR {}
        // 1 is a file that changed while it was read.
        guard status == 0 || status == 1 << 8 else {
            throw MartletError(.internal, "root.path: \(path): tar could not read it (status \(status))")
        }
    }

    func makeAsyncIterator() -> AsyncIterator { AsyncIterator(output: output) }

    struct AsyncIterator: AsyncIteratorProtocol {
        let output: Descriptor

        mutating func next() async throws -> ByteBuffer? {
            let source = output
            let bytes = try await Blocking.run { try source.read(upTo: 1 << 18) }
            return bytes.isEmpty ? nil : ByteBuffer(bytes: bytes)
        }
    }
}

/// A pipe whose ends no other program inherits.
private func clinuxPipe(_ ends: inout [Int32]) -> Int32 {
    guard pipe(&ends) == 0 else { return -errno }
    for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
    return 0
}
