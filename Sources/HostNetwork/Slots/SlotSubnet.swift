import LinuxSystem
import SandboxModel

/// The addresses that the slots of one host are made from, and what follows from them.
struct SlotSubnet: Hashable, Sendable, CustomStringConvertible {
    /// Bits of a slot's own network: four addresses, of which two are its ends.
    private static let slotLength = 30
    /// The largest subnet: 16,384 slots.
    static let shortestLength = 16
    /// What is tried where the operator names none.
    static let candidates = (201...231).map { SlotSubnet(prefix: IPv4Prefix(IPv4Address(10, $0, 0, 0), length: 16)) }

    let prefix: IPv4Prefix

    private init(prefix: IPv4Prefix) { self.prefix = prefix }

    /// - Throws: `invalid_argument` for a subnet of another size.
    init(_ prefix: IPv4Prefix) throws(MartletError) {
        guard (SlotSubnet.shortestLength...SlotSubnet.slotLength).contains(prefix.length) else {
            throw .invalid("network.subnet", "\(prefix) is no range of length /16 to /30")
        }
        self.prefix = prefix
    }

    /// Slots there can be at once.
    var capacity: Int { 1 << (SlotSubnet.slotLength - prefix.length) }

    /// Names it in names of links and tables: `201` for 10.201.0.0/16, else its address in hexadecimal.
    var tag: String {
        let bits = prefix.address.bits
        if prefix.length == 16, bits >> 24 == 10 { return String(bits >> 16 & 0xFF) }
        let digits = String(bits >> 8, radix: 16)
        // A /24 or longer is told from its neighbours by the last byte; then there are few slots and short numbers.
        guard prefix.length > 24 else { return digits }
        return String(bits, radix: 16)
    }

    /// What the names of this host's links begin with; they have room for 15 characters.
    var linkPrefix: String { "mt\(tag)-" }
    var table: String { "martlet_\(tag)" }

    /// The group that links are put into to be deleted together (ip-link(8)).
    var group: UInt32 { 0x6d74_0000 | prefix.address.bits >> 16 }

    /// The index of the slot whose link at the host has this name, if it is one of ours.
    func index(ofLink name: String) -> Int? {
        guard name.hasPrefix(linkPrefix), let index = Int(name.dropFirst(linkPrefix.count)),
            (0..<capacity).contains(index), name == link(index)
        else { return nil }
        return index
    }

    func link(_ index: Int) -> String { linkPrefix + String(index) }

    /// The host's end, and the slot's.
    func hostAddress(_ index: Int) -> IPv4Address { IPv4Address(bits: prefix.address.bits + UInt32(index) * 4 + 1) }
    func slotAddress(_ index: Int) -> IPv4Address { IPv4Address(bits: prefix.address.bits + UInt32(index) * 4 + 2) }

    /// The index of the slot an address belongs to.
    func index(of address: IPv4Address) -> Int? {
        guard prefix.contains(address), address.bits & 3 == 2 else { return nil }
        return Int(address.bits - prefix.address.bits) / 4
    }

    /// Locally administered; the two are alone on their link.
    func hostHardware(_ index: Int) -> HardwareAddress { hardware(index, end: 1) }
    func slotHardware(_ index: Int) -> HardwareAddress { hardware(index, end: 2) }

    private func hardware(_ index: Int, end: UInt8) -> HardwareAddress {
        HardwareAddress(0x02, 0x6d, 0x75, UInt8(index >> 8 & 0xFF), UInt8(index & 0xFF), end)
    }

    var slotPrefixLength: Int { SlotSubnet.slotLength }
    var description: String { prefix.description }
}
