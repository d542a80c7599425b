import Crypto
import LinuxSystem
import MartletAPI
import MartletClient
import NIOCore
import SandboxModel

/// How fast files go in and out, and whether the daemon's memory stays flat meanwhile.
package struct FilesBenchmark: Sendable {
    let context: BenchContext
    let sizeMiB: Int
    let smallFiles: Int

    /// - Parameters:
    ///   - sizeMiB: size of the large file.
    ///   - smallFiles: how many files of 1 KiB.
    package init(context: BenchContext, sizeMiB: Int, smallFiles: Int) {
        self.context = context
        self.sizeMiB = sizeMiB
        self.smallFiles = smallFiles
    }

    private static let path = "/var/tmp/bench.bin"
    /// Most the daemon may grow while a file passes through it.
    private static let toleratedGrowthMiB = 32.0

    /// Runs it.
    package func run() async throws -> BenchReport {
        let content = RandomContent(size: sizeMiB << 20)
        let digest = try await content.digest()
        var report = try await context.withServer(.standard) { server in
            var report = try await context.report("files", server)
            try await server.waitUntilPoolIsFull()
            try await server.withSandbox { sandbox in
                try await measureLarge(content, digest, sandbox.id, server, &report)
                try await measureSmall(sandbox.id, server, &report)
            }
            return report
        }
        report.notes.append("every download is checked against the SHA-256 of what was uploaded")
        if context.measuresBaseline {
            try await RawTransfers(context: context, content: content, digest: digest).measure(&report)
        }
        report.compare()
        return report
    }

    // MARK: One large file

    private func measureLarge(
        _ content: RandomContent, _ digest: SHA256.Digest, _ sandbox: String, _ server: BenchServer,
        _ report: inout BenchReport
    ) async throws {
        let facts = server.daemon?.facts
        try await server.client.upload(sandbox, Self.path, content.start)
        for try await _ in try await server.client.download(sandbox, Self.path) {}
        var (up, down): ([Double], [Double]) = ([], [])
        var growth = (up: 0.0, down: 0.0)
        for index in 0..<context.runs {
            context.progress("upload of \(sizeMiB) MiB: \(index) of \(context.runs)")
            var grown = try await Self.growth(of: facts) {
                up.append(
                    try await timed {
                        try await server.client.upload(sandbox, Self.path, content, size: UInt64(content.size))
                    }.milliseconds)
            }
            growth.up = max(growth.up, grown)
            context.progress("download of \(sizeMiB) MiB: \(index) of \(context.runs)")
            grown = try await Self.growth(of: facts) {
                let (received, milliseconds) = try await timed { () -> SHA256.Digest in
                    var hash = SHA256()
                    for try await piece in try await server.client.download(sandbox, Self.path) { hash.update(piece) }
                    return hash.finalize()
                }
                guard received == digest else { throw RawTransfers.notTheSame(Self.path) }
                down.append(milliseconds)
            }
            growth.down = max(growth.down, grown)
        }
        try await server.client.removeFile(sandbox, Self.path)
        report.add(.rate("upload", bytes: content.size, up, baseline: RawTransfers.upload))
        report.add(.rate("download", bytes: content.size, down, baseline: RawTransfers.download))
        guard facts != nil else {
            report.notes.append("memory of the daemon: not measured, it is not ours to look into")
            return
        }
        for (what, grown) in [("upload", growth.up), ("download", growth.down)] {
            report.changes.append(.init("daemon: peak resident memory, \(what)", unit: "MiB", before: 0, after: grown))
            report.checks.append(
                .init(
                    "\(what) is streamed", passed: grown <= Self.toleratedGrowthMiB,
                    detail: "the daemon grew by at most \(Statistics.rounded(grown)) MiB, up to "
                        + "\(Self.toleratedGrowthMiB) allowed"))
        }
    }

    /// By how many MiB a process's resident memory rose at most while `body` ran.
    private static func growth(of facts: ProcessFacts?, _ body: () async throws -> Void) async throws -> Double {
        guard let facts else {
            try await body()
            return 0
        }
        let before = try await Blocking.run {
            try facts.resetPeak()
            return facts.residentMiB
        }
        try await body()
        return try await Blocking.run { max(0, facts.peakMiB - before) }
    }

    // MARK: Many small files

    private func measureSmall(_ sandbox: String, _ server: BenchServer, _ report: inout BenchReport) async throws {
        let bytes = (0..<1024).map { UInt8(truncatingIfNeeded: $0 &* 7) }
        var (up, down): ([Double], [Double]) = ([], [])
        for index in 0..<smallFiles {
            context.progress("small files: \(index) of \(smallFiles)")
            let path = "/var/tmp/bench/\(index)"
            up.append(try await timed { try await server.client.upload(sandbox, path, bytes: bytes) }.milliseconds)
            down.append(
                try await timed {
                    var received: [UInt8] = []
                    for try await piece in try await server.client.download(sandbox, path) {
                        received += piece.readableBytesView
                    }
                    guard received == bytes else { throw RawTransfers.notTheSame(path) }
                }.milliseconds)
        }
        report.add(BenchRow("upload of 1 KiB", up))
        report.add(BenchRow("download of 1 KiB", down))
    }
}
