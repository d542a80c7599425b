import CLinux
import Glibc

/// Links, addresses, routes and rates of one network namespace: the one the thread was in when this was opened.
///
/// For one thread at a time. Addresses are in host byte order.
public final class NetworkLinks: Sendable {
    /// One interface.
    public struct Link: Sendable, Equatable {
        public var index: Int32
        public var name: String
    }

    /// Addresses in use: an interface's own, or those of a route.
    public struct Range: Sendable, Equatable {
        public var link: Int32
        public var address: UInt32
        public var prefixLength: Int
        /// Whether it is an interface's own address, `prefixLength` being that of its network.
        public var isAddress: Bool
    }

    /// What an interface has let through, seen from its namespace.
    public struct Statistics: Sendable, Equatable {
        public var receivedBytes: UInt64
        public var sentBytes: UInt64
        public var receivedPackets: UInt64
        public var sentPackets: UInt64
    }

    private let socket: Descriptor

    public init() throws(SystemError) {
        socket = Descriptor(owning: try SystemError.check(clinux_rtnl_open(), "socket", "netlink"))
    }

    /// Makes two linked interfaces, one here and brought up, the other in a namespace given.
    public func addPair(
        _ name: String, _ address: HardwareAddress, peer: String, _ peerAddress: HardwareAddress,
        in namespace: Descriptor, mtu: Int
    ) throws(SystemError) {
        try SystemError.check(
            clinux_veth_create(
                socket.number, name, address.bytes, peer, peerAddress.bytes, namespace.number, UInt32(mtu)),
            "add link", name)
    }

    /// Moves an interface into another namespace, where it is down and has no address.
    public func move(_ name: String, to namespace: Descriptor) throws(SystemError) {
        try SystemError.check(clinux_link_move(socket.number, name, namespace.number), "move link", name)
    }

    public func delete(_ name: String) throws(SystemError) {
        try SystemError.check(clinux_link_delete(socket.number, name), "delete link", name)
    }

    /// Deletes many links in one go, which takes hardly longer than one. Links that are not there are fine.
    ///
    /// - Parameter group: a number for them to have in common meanwhile, which nobody else uses.
    public func delete(_ names: [String], group: UInt32) throws(SystemError) {
        var count = 0
        for name in names {
            let result = clinux_link_set_group(socket.number, name, group)
            if result == -ENODEV { continue }
            try SystemError.check(result, "mark link", name)
            count += 1
        }
        if count > 0 { try SystemError.check(clinux_link_delete_group(socket.number, group), "delete links") }
    }

    public func index(of name: String) throws(SystemError) -> Int32 {
        try SystemError.check(clinux_link_index(socket.number, name), "find link", name)
    }

    public func bringUp(_ link: Int32, _ address: HardwareAddress, mtu: Int) throws(SystemError) {
        try SystemError.check(
            clinux_link_up(socket.number, link, address.bytes, UInt32(mtu)), "bring up", "link \(link)")
    }

    public func addAddress(_ address: UInt32, prefixLength: Int, to link: Int32) throws(SystemError) {
        try SystemError.check(
            clinux_address_add(socket.number, link, address, Int32(prefixLength)), "add address", "link \(link)")
    }

    public func addDefaultRoute(by gateway: UInt32, on link: Int32) throws(SystemError) {
        try SystemError.check(
            clinux_route_add_default(socket.number, link, gateway), "add route", "link \(link)")
    }

    /// Says once and for all which hardware address a neighbour has: nobody is asked, and nobody can lie about it.
    public func addNeighbour(_ address: UInt32, _ hardware: HardwareAddress, on link: Int32) throws(SystemError) {
        try SystemError.check(
            clinux_neighbour_add(socket.number, link, address, hardware.bytes), "add neighbour", "link \(link)")
    }

    /// Lets no more than so many bytes a second out of a link; nil lets all.
    ///
    /// - Parameters:
    ///   - burst: bytes that may go at once after a pause.
    ///   - queue: bytes that may wait; what comes on top is dropped.
    public func setRate(_ bytesPerSecond: UInt64?, burst: UInt32, queue: UInt32, on link: Int32) throws(SystemError) {
        if let bytesPerSecond {
            try SystemError.check(
                clinux_rate_set(socket.number, link, bytesPerSecond, burst, queue), "set rate", "link \(link)")
        } else {
            try SystemError.check(clinux_rate_clear(socket.number, link), "clear rate", "link \(link)")
        }
    }

    /// The rate in force, in bytes a second.
    public func rate(of link: Int32) throws(SystemError) -> UInt64? {
        let rate = try SystemError.check(clinux_rate(socket.number, link), "read rate", "link \(link)")
        return rate == 0 ? nil : UInt64(rate)
    }

    public func statistics(of name: String) throws(SystemError) -> Statistics {
        var counters = clinux_link_counters()
        try SystemError.check(clinux_link_statistics(socket.number, name, &counters), "count", name)
        return Statistics(
            receivedBytes: counters.received_bytes, sentBytes: counters.sent_bytes,
            receivedPackets: counters.received_packets, sentPackets: counters.sent_packets)
    }

    public func all() throws(SystemError) -> [Link] {
        let found = try NetworkLinks.list("list", "links") { clinux_links(socket.number, $0, $1) }
        return found.map { (link: clinux_link) in
            Link(
                index: link.index,
                name: withUnsafeBytes(of: link.name) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) })
        }
    }

    /// The addresses of all interfaces, and all IPv4 routes but those to the interfaces' own addresses.
    public func ranges() throws(SystemError) -> [Range] {
        let found = try NetworkLinks.list("list", "addresses and routes") { clinux_ranges(socket.number, $0, $1) }
        return found.map { (range: clinux_range) in
            Range(
                link: range.index, address: range.address, prefixLength: Int(range.prefix),
                isAddress: range.is_address != 0)
        }
    }

    /// Asks again with more room until everything fits.
    private static func list<Item>(
        _ call: String, _ object: String, _ fill: (UnsafeMutablePointer<Item>?, Int) -> Int
    ) throws(SystemError) -> [Item] {
        var capacity = 256
        while true {
            var count = 0
            let items = [Item](unsafeUninitializedCapacity: capacity) { buffer, filled in
                count = fill(buffer.baseAddress, capacity)
                filled = max(0, min(count, capacity))
            }
            try SystemError.check(count, call, object)
            if count <= capacity { return items }
            capacity = count + 64
        }
    }
}
