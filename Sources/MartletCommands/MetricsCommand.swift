import ArgumentParser
import MartletAPI
import MartletClient
import SandboxModel

/// Shows what a sandbox uses.
struct MetricsCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "metrics", abstract: "Show what a sandbox uses.", aliases: ["stats"])

    @Argument(help: "Id or name of the sandbox.")
    var sandbox: String

    @OptionGroup var output: OutputOptions

    func run() async throws {
        let metrics = try await Session.with { try await $0.metrics(sandbox) }
        try output.show(metrics) { Self.text(metrics) }
    }

    static func text(_ metrics: SandboxMetrics) -> String {
        let busy = metrics.cpuUserMilliseconds + metrics.cpuSystemMilliseconds
        let used = metrics.memoryTotalBytes - min(metrics.memoryTotalBytes, metrics.memoryAvailableBytes)
        var facts = [
            ("up", Format.milliseconds(Double(metrics.uptimeMilliseconds))),
            ("cpu", "\(Format.milliseconds(Double(busy))) busy, load \(Format.decimal(metrics.loadAverage, 2))"),
            ("processes", "\(metrics.processes)"),
            ("memory", "\(Format.bytes(used)) of \(Format.bytes(metrics.memoryTotalBytes)) in the guest"),
            (
                "host memory",
                "\(Format.bytes(metrics.hostPrivateBytes)) its own, "
                    + "\(Format.bytes(metrics.hostProportionalBytes)) with its share of what others use too"
            ),
            ("disk", "\(Format.bytes(metrics.diskUsedBytes)) of \(Format.bytes(metrics.diskTotalBytes))"),
            (
                "disk traffic",
                "\(Format.bytes(metrics.diskReadBytes)) read, \(Format.bytes(metrics.diskWrittenBytes)) written"
            ),
            (
                "network",
                "\(Format.bytes(metrics.networkReceivedBytes)) received, \(Format.bytes(metrics.networkSentBytes)) sent"
            ),
        ]
        if let host = metrics.network {
            facts.append(
                (
                    "host network",
                    "\(Format.bytes(host.receivedBytes)) received, \(Format.bytes(host.sentBytes)) sent, "
                        + "\(host.denied) times refused"
                ))
        }
        return FactTable.text(facts)
    }
}
