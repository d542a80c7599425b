/// Addresses that are not the public internet's: out of every sandbox's reach unless the operator opens them.
public enum SpecialAddresses {
    /// IANA's special-purpose registry (RFC 6890 and later entries) without the one public anycast block, multicast, and
    /// the former class E. The metadata services of clouds (169.254.169.254) are link-local; the others' are
    /// within 100.64.0.0/10 or 192.0.0.0/24, or listed by themselves.
    public static let blocked: [IPv4Prefix] = [
        prefix(0, 0, 0, 0, 8),  // this network
        prefix(10, 0, 0, 0, 8),  // private
        prefix(100, 64, 0, 0, 10),  // carriers' translation
        prefix(127, 0, 0, 0, 8),  // loopback
        prefix(168, 63, 129, 16, 32),  // Azure's platform services, public by number only
        prefix(169, 254, 0, 0, 16),  // link-local, metadata
        prefix(172, 16, 0, 0, 12),  // private
        prefix(192, 0, 0, 0, 24),  // protocol assignments
        prefix(192, 0, 2, 0, 24),  // documentation
        prefix(192, 88, 99, 0, 24),  // former 6to4 relays
        prefix(192, 168, 0, 0, 16),  // private
        prefix(198, 18, 0, 0, 15),  // benchmarks
        prefix(198, 51, 100, 0, 24),  // documentation
        prefix(203, 0, 113, 0, 24),  // documentation
        prefix(224, 0, 0, 0, 4),  // multicast
        prefix(240, 0, 0, 0, 4),  // reserved, broadcast
    ]

    private static func prefix(_ a: UInt8, _ b: UInt8, _ c: UInt8, _ d: UInt8, _ length: Int) -> IPv4Prefix {
        IPv4Prefix(IPv4Address(a, b, c, d), length: length)
    }
}
