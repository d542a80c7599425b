import Crypto
import GuestClient
import GuestProtocol
import NIOCore
import SandboxModel

/// The same bytes by the same guest protocol over the same kind of port, on a QEMU of its own: no HTTP, no daemon. And
/// each part of that way alone, so that it shows what bounds the whole.
struct RawTransfers: Sendable {
    let context: BenchContext
    let content: RandomContent
    let digest: SHA256.Digest

    static let upload = "upload without HTTP and daemon"
    static let download = "download without HTTP and daemon"
    private static let intoProgram = "into a program in the guest, no disk"
    private static let outOfProgram = "out of a program in the guest, no disk"
    private static let guestDisk = "the guest writes to its own disk, no transfer"
    private static let names = [upload, download, intoProgram, outOfProgram, guestDisk]

    private static let path = "/var/tmp/bench.bin"
    private static let blockSize = 65_536

    /// Adds the rows, and what they say about what bounds a transfer.
    func measure(_ report: inout BenchReport) async throws {
        let baselines = Baselines(context: context)
        try await baselines.measuring(Self.upload, &report) { report in
            let found = try await baselines.withRecipe(report) { recipe, directory in
                context.progress("booting a QEMU for the baseline")
                return try await RawMachine.with(recipe, in: directory) { try await samples($0.guest) }
            }
            for name in Self.names {
                report.add(.rate(name, bytes: content.size, found[name] ?? [], isBaseline: true))
            }
            report.notes.append(
                "what bounds a transfer: virtio-serial, whose guest driver moves data in buffers of at most one page "
                    + "(4 KiB), each a trip out of the guest; then the guest's copying and, for an upload, its disk, one "
                    + "after the other on the guest's own processors, which are slow when emulated (tcg). The rows "
                    + "without HTTP and daemon do the same by hand; the rows below them do one part of it each")
        }
    }

    private func samples(_ guest: GuestConnection) async throws -> [String: [Double]] {
        var samples: [String: [Double]] = [:]
        let warmup = content.start
        try await upload(warmup, guest)
        try await download(try await warmup.digest(), guest)
        for index in 0..<context.runs {
            context.progress("transfers without HTTP and daemon: \(index) of \(context.runs)")
            samples[Self.upload, default: []].append(
                try await timed { try await upload(content, guest) }.milliseconds)
            samples[Self.download, default: []].append(
                try await timed { try await download(digest, guest) }.milliseconds)
            for (name, arguments, sends) in [
                (Self.intoProgram, ["of=/dev/null"], true), (Self.outOfProgram, ["if=/dev/zero", count], false),
                (Self.guestDisk, ["if=/dev/zero", "of=\(Self.path)", count], false),
            ] {
                samples[name, default: []].append(
                    try await timed { try await copy(arguments, sends: sends, guest) }.milliseconds)
            }
        }
        return samples
    }

    private var count: String { "count=\(content.size / Self.blockSize)" }

    private func upload(_ content: RandomContent, _ guest: GuestConnection) async throws {
        let writer = guest.writeFile(WriteFile(path: Self.path))
        for try await piece in content { try await writer.write(Array(piece.readableBytesView)) }
        _ = try await writer.finish()
    }

    private func download(_ digest: SHA256.Digest, _ guest: GuestConnection) async throws {
        var hash = SHA256()
        for try await bytes in try await guest.readFile(ReadFile(path: Self.path)) { hash.update(data: bytes) }
        guard hash.finalize() == digest else { throw Self.notTheSame(Self.path) }
    }

    /// Runs `dd` in the guest, which moves the data between its ends and does nothing else.
    private func copy(_ arguments: [String], sends: Bool, _ guest: GuestConnection) async throws {
        let process = try await guest.start(
            StartProcess(arguments: ["/bin/dd", "bs=\(Self.blockSize)"] + arguments, takesInput: sends),
            window: 1 << 20)
        if sends {
            for try await piece in content { try await process.stream.send(Array(piece.readableBytesView)) }
            process.stream.finish()
        }
        while let element = try await process.next() {
            guard case .exit(let exit) = element else { continue }
            guard exit.code == 0 else {
                throw MartletError(.failedPrecondition, "dd in the guest: it ended with \(exit.code)")
            }
        }
    }

    /// The error for content that was damaged on its way.
    static func notTheSame(_ path: String) -> MartletError {
        MartletError(.internal, "download: \(path): what came back is not what was sent")
    }
}

extension BenchRow {
    /// A row of rates for so many bytes in each of the times; nil when nothing was measured.
    static func rate(
        _ name: String, bytes: Int, _ milliseconds: [Double], isBaseline: Bool = false, baseline: String? = nil
    ) -> BenchRow? {
        BenchRow(
            name, unit: .mebibytesPerSecond, milliseconds.map { Double(bytes) / 1_048_576 * 1000 / $0 },
            isBaseline: isBaseline, baseline: baseline)
    }
}
