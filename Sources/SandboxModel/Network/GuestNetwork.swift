/// The network as every guest sees it: the same in all, since it is part of what they were captured with. Outside, a
/// sandbox has the address of its slot.
public enum GuestNetwork {
    /// Out of 192.0.0.0/29, which is set aside for a host's own inner translation and routed nowhere (RFC 7335), so that
    /// it is in nobody's way.
    public static let gateway = IPv4Address(192, 0, 0, 1)
    public static let address = IPv4Address(192, 0, 0, 2)
    public static let prefixLength = 30
    /// Locally administered; the network between guest and gateway has nobody else on it.
    public static let gatewayMAC = "02:6d:74:00:00:01"
    public static let guestMAC = "02:6d:74:00:00:02"
    public static let mtu = 1500
}
