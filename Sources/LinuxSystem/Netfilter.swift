import CLinux
import Glibc

/// Counters and tracked connections of one network namespace's packet filter: the one the thread was in when this was
/// opened. For one thread at a time.
public final class Netfilter: Sendable {
    /// Families of tables (linux/netfilter.h).
    public enum Family: UInt8, Sendable {
        case inet = 1
        case ipv4 = 2
        case netdev = 5
    }

    private let socket: Descriptor

    public init() throws(SystemError) {
        socket = Descriptor(owning: try SystemError.check(clinux_netfilter_open(), "socket", "netfilter"))
    }

    /// How many packets a named counter has counted.
    public func packets(counter name: String, table: String, family: Family) throws(SystemError) -> UInt64 {
        UInt64(
            try SystemError.check(
                clinux_nft_counter(socket.number, family.rawValue, table, name), "read counter", "\(table) \(name)"))
    }

    /// Forgets connections that come from an address; their packets are strangers' from then on.
    public func forgetConnections(from source: UInt32) throws(SystemError) {
        try SystemError.check(clinux_conntrack_forget(socket.number, source), "forget connections")
    }

    /// A non-blocking descriptor that is readable when packets were logged to a group of the thread's namespace; a read
    /// brings messages with the first `range` bytes of each packet.
    public static func log(group: UInt16, range: Int) throws(SystemError) -> Descriptor {
        Descriptor(owning: try SystemError.check(clinux_nflog_open(group, UInt32(range)), "bind", "log group \(group)"))
    }

    /// Opens the tap of a name in the thread's namespace, making it if need be; it stays when the descriptor is closed.
    public static func tap(_ name: String) throws(SystemError) -> Descriptor {
        Descriptor(owning: try SystemError.check(clinux_tap_open(name), "open tap", name))
    }
}
