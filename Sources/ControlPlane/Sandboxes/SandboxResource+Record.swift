import ControlStore
import GuestProtocol
import MartletAPI
import SandboxModel

extension SandboxResource {
    /// The record as clients see it.
    init(_ record: SandboxRecord) {
        self.init(listed: record)
        network = record.network
        secrets = (record.secrets?.facts ?? []).map { SecretSummary(name: $0.name, hosts: $0.hosts) }
    }

    /// The record as one of several: without what may be long.
    init(listed record: SandboxRecord) {
        self.init(
            id: record.id.rawValue, name: record.name, template: record.template, state: record.state,
            stateReason: record.reason, isolation: record.isolation, cpus: record.cpus, memoryMiB: record.memoryMiB,
            diskMiB: record.diskMiB, createdAt: record.createdAt, expiresAt: record.isKept ? nil : record.expiresAt,
            onTimeout: record.onTimeout, metadata: record.metadata, parent: record.parent,
            fromSnapshot: record.fromSnapshot, record: record.isRecorded, pausedAt: record.pausedAt,
            capture: record.capture, create: record.report)
    }
}

extension SandboxRecord {
    /// Whether it stays until it is deleted, having no deadline: it is paused, or on its way out of that.
    fileprivate var isKept: Bool { state == .paused || state == .resuming && pausedAt != nil }
}

extension SandboxMetrics {
    /// What the guest tells of itself, beside what the host sees.
    init(
        _ guest: GuestMetrics, memory: (private: UInt64, proportional: UInt64), network: NetworkCounters?
    ) {
        self.init(
            uptimeMilliseconds: guest.uptimeMilliseconds, cpuUserMilliseconds: guest.cpuUserMilliseconds,
            cpuSystemMilliseconds: guest.cpuSystemMilliseconds, cpuIdleMilliseconds: guest.cpuIdleMilliseconds,
            loadAverage: Double(guest.loadAverageMilli) / 1000, memoryTotalBytes: guest.memoryTotal,
            memoryAvailableBytes: guest.memoryAvailable, hostPrivateBytes: memory.private,
            hostProportionalBytes: memory.proportional, diskTotalBytes: guest.diskTotal,
            diskUsedBytes: guest.diskUsed, diskReadBytes: guest.diskReadBytes,
            diskWrittenBytes: guest.diskWrittenBytes, networkReceivedBytes: guest.networkReceivedBytes,
            networkSentBytes: guest.networkSentBytes, processes: guest.processes,
            network: network)
    }
}
