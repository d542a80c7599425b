import ControlPlane
import E2BProtocol
import Hummingbird
import MartletAPI
import SandboxModel
import Synchronization

/// The processor time that each sandbox had used when it was last asked for, so that the next answer tells what it used
/// since. Bounded; of one that is not here, the average since its boot is told.
final class MetricHistory: Sendable {
    private static let maxSandboxes = 4096

    private struct Reading {
        var busy: UInt64
        var whole: UInt64
    }

    private let readings = Mutex<[String: Reading]>([:])

    /// Per cent of all its processors that a sandbox used since it was last asked for.
    func usedPercent(_ metrics: SandboxMetrics, of sandbox: String) -> Double {
        let busy = metrics.cpuUserMilliseconds &+ metrics.cpuSystemMilliseconds
        let now = Reading(busy: busy, whole: busy &+ metrics.cpuIdleMilliseconds)
        let before = readings.withLock { readings in
            if readings[sandbox] == nil, readings.count >= MetricHistory.maxSandboxes, let any = readings.keys.first {
                readings[any] = nil
            }
            defer { readings[sandbox] = now }
            return readings[sandbox] ?? Reading(busy: 0, whole: 0)
        }
        guard now.whole > before.whole, now.busy >= before.busy else { return 0 }
        return min(100, Double(now.busy - before.busy) / Double(now.whole - before.whole) * 100)
    }
}

/// What sandboxes use, and what happened to them.
extension E2BControl {
    /// Lines of a log in one answer, as E2B's.
    private static let maxLines = 1000

    @Sendable func metrics(_ call: APICall) async throws -> Response {
        let (sandbox, _) = try find(call)
        // A paused one uses nothing, and is not woken to be asked.
        guard sandbox.state != .paused else { return try E2BControl.answer([MetricSample]()) }
        return try E2BControl.answer([try await sample(sandbox, call)])
    }

    /// The last sample of each of several sandboxes; one that is not there or does not run is left out.
    @Sendable func allMetrics(_ call: APICall) async throws -> Response {
        let ids = try LenientQuery(call.request.uri.query).list("sandbox_ids") ?? []
        guard ids.count <= 100 else { throw MartletError.invalid("sandbox_ids", "holds more than 100") }
        var samples: [String: MetricSample] = [:]
        for id in ids {
            guard let sandbox = try? sandboxes.get(id, caller: call.caller), sandbox.state == .running else { continue }
            samples[sandbox.id] = try await sample(sandbox, call)
        }
        return try E2BControl.answer(["sandboxes": samples])
    }

    private func sample(_ sandbox: SandboxResource, _ call: APICall) async throws -> MetricSample {
        let metrics = try await sandboxes.metrics(sandbox.id, caller: call.caller)
        let now = Timestamp.now
        let used =
            metrics.memoryTotalBytes >= metrics.memoryAvailableBytes
            ? metrics.memoryTotalBytes - metrics.memoryAvailableBytes : 0
        return MetricSample(
            timestamp: now.description, timestampUnix: now.milliseconds / 1000, cpuCount: sandbox.cpus,
            cpuUsedPct: samples.usedPercent(metrics, of: sandbox.id), memUsed: used,
            memTotal: metrics.memoryTotalBytes, memCache: 0, diskUsed: metrics.diskUsedBytes,
            diskTotal: metrics.diskTotalBytes)
    }

    @Sendable func logs(_ call: APICall) async throws -> Response {
        try E2BControl.answer(SandboxLogs(logs: try await entries(call)))
    }

    @Sendable func logsV1(_ call: APICall) async throws -> Response {
        try E2BControl.answer(SandboxLogsV1(try await entries(call)))
    }

    /// A sandbox's history as lines of a log, from `cursor` or `start` (milliseconds since 1970) on.
    private func entries(_ call: APICall) async throws -> [LogEntry] {
        let query = try LenientQuery(call.request.uri.query)
        let sandbox = try find(call).sandbox
        let start = Int64(try query.number("cursor") ?? query.number("start") ?? 0)
        let limit = min(try query.number("limit") ?? E2BControl.maxLines, E2BControl.maxLines)
        let entries = Mutex<[LogEntry]>([])
        try await sandboxes.history(of: sandbox.id, after: 0, follow: false, caller: call.caller) { stored in
            guard stored.event.time.milliseconds >= start else { return }
            let entry = LogEntry(
                timestamp: stored.event.time.description, message: stored.event.message,
                level: stored.event.kind.hasSuffix("_failed") ? "error" : "info",
                fields: stored.event.details.merging(["kind": stored.event.kind]) { $1 })
            entries.withLock { $0.append(entry) }
        }
        let all = entries.withLock { $0 }
        return query["direction"] == "backward" ? Array(all.suffix(limit).reversed()) : Array(all.prefix(limit))
    }
}
