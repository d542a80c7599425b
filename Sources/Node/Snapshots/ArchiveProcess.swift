import CLinux
import Glibc
import LinuxSystem
import NIOPosix
import SandboxModel

/// A tar process that packs or unpacks a directory, with one end of its stream in our hands.
///
/// Compressed by zstd, which checks the stream as a whole; holes are not stored.
struct ArchiveProcess: Sendable {
    private static let pieceBytes = 256 << 10
    private let process: ProcessHandle
    private let stream: Descriptor
    private let log: String

    /// Starts to pack entries of a directory; what comes out is read from the stream.
    static func pack(_ entries: [String], of directory: String, log: String) throws -> ArchiveProcess {
        let arguments = [
            // Files are links: that one is made or removed elsewhere changes them in no way that matters.
            "--create", "--warning=no-file-changed", "--sparse", "--sort=name", "--owner=0", "--group=0",
            "--numeric-owner", "--hard-dereference", "--zstd", "--file=-", "--directory=\(directory)",
        ]
        return try start(arguments + entries, ["ZSTD_NBTHREADS=2"], log: log, reading: true)
    }

    /// Starts to unpack into an empty directory; what is to be unpacked is written to the stream.
    static func unpack(into directory: String, log: String) throws -> ArchiveProcess {
        let arguments = [
            "--extract", "--zstd", "--file=-", "--no-same-owner", "--no-same-permissions", "--keep-old-files",
            "--directory=\(directory)",
        ]
        return try start(arguments, [], log: log, reading: false)
    }

    private static func start(
        _ arguments: [String], _ environment: [String], log: String, reading: Bool
    ) throws -> ArchiveProcess {
        var ends: [Int32] = [-1, -1]
        try SystemError.check(clinux_pipe(&ends, O_CLOEXEC), "pipe", "archive")
        let (output, input) = (Descriptor(owning: ends[0]), Descriptor(owning: ends[1]))
        let words = try Descriptor.open(log, O_WRONLY | O_CREAT | O_TRUNC)
        var request = SpawnRequest(
            program: "/usr/bin/tar", arguments: ["tar"] + arguments,
            environment: ["PATH=/usr/bin:/bin", "LANG=C"] + environment)
        request.descriptors = reading ? [nil, input.number, words.number] : [output.number, nil, words.number]
        request.noNewPrivileges = true
        let child = try ChildProcess.spawn(request)
        withExtendedLifetime((output, input, words)) {}
        return ArchiveProcess(
            process: try ProcessHandle.open(pid: child.pid), stream: reading ? output : input, log: log)
    }

    /// The next piece of what is packed; nil at the end.
    func read() async throws -> [UInt8]? {
        let stream = stream
        let piece = try await NIOThreadPool.singleton.runIfActive { try stream.read(upTo: ArchiveProcess.pieceBytes) }
        return piece.isEmpty ? nil : piece
    }

    /// Hands over the next piece of what is to be unpacked; returns once it is taken.
    ///
    /// - Throws: `EPIPE` when the process has ended, which `finish` tells the reason of.
    func write(_ piece: [UInt8]) async throws {
        let stream = stream
        try await NIOThreadPool.singleton.runIfActive { try stream.writeAll(piece) }
    }

    /// Waits for the end.
    ///
    /// - Returns: nil when all went well, else what the process said.
    func finish() async -> String? {
        stream.close()
        await ExitWatcher.shared.waitUntilEnded(process)
        let said = (try? AtomicFile.read(log, limit: 16_384)) ?? []
        let text = String(decoding: said, as: UTF8.self)
        // It says nothing when nothing is amiss.
        guard !text.isEmpty else { return nil }
        return text.split(separator: "\n").first.map { String($0.prefix(200)) } ?? "tar failed"
    }

    /// Ends it before its time.
    func abandon() async {
        process.signal(SIGKILL)
        stream.close()
        await ExitWatcher.shared.waitUntilEnded(process)
    }
}
