import LinuxSystem
import Logging
import SandboxModel

/// What all slots of a host work with.
struct SlotTools: Sendable {
    let subnet: SlotSubnet
    let nftables: Nftables
    /// For what somebody waits for; never busy for long.
    let urgent: NetworkThread
    /// For making and removing slots.
    let background: NetworkThread
    /// The host's links, for the urgent thread and for the other.
    let urgentLinks: NetworkLinks
    let backgroundLinks: NetworkLinks
    let watcher: SocketWatcher
    let blocked: BlockedAddresses
    let environment: ProxyEnvironment
    let logger: Logger
}

extension MartletError {
    /// An error of the network's set-up, saying what is missing.
    static func network(_ error: any Error, _ what: String) -> MartletError {
        switch error {
        case let error as MartletError: return error
        case let error as SystemError where [1, 13].contains(error.errno):  // EPERM, EACCES
            return MartletError(.unsupported, "network: \(what): \(error): the daemon has to run as root")
        case let error as Nftables.Failure:
            return MartletError(.unsupported, "network: \(what): \(error); see martlet doctor")
        default:
            return MartletError(.unsupported, "network: \(what): \(error); see martlet doctor")
        }
    }
}
