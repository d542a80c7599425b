import HostNetwork
import SandboxModel

extension NodeNetwork {
    package var isAvailable: Bool { report != nil }

    /// Why there is none.
    package var reason: String? {
        if case .unavailable(let reason) = self { reason } else { nil }
    }

    package var subnet: IPv4Prefix? { report?.subnet }
    /// Slots there can be at once.
    package var capacity: Int { report?.capacity ?? 0 }
    package var used: Int { report?.used ?? 0 }
    package var ready: Int { report?.ready ?? 0 }

    private var report: HostNetworkReport? {
        if case .available(let report) = self { report } else { nil }
    }
}
