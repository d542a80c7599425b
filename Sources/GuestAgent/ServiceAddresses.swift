import CLinux

/// Where a service of this machine may listen, in the order in which it is looked for.
enum ServiceAddresses {
    /// Addresses of cards that are tried at most.
    private static let cardLimit = 4

    /// 127.0.0.1, ::1, then what the cards have; nothing outside the machine.
    static func all() -> [clinux_address] {
        var cards = [clinux_address](repeating: clinux_address(), count: cardLimit)
        let count = clinux_own_addresses(&cards, Int32(cardLimit))
        return [address([127, 0, 0, 1]), address([UInt8](repeating: 0, count: 15) + [1])]
            + cards.prefix(Int(max(0, count)))
    }

    private static func address(_ bytes: [UInt8]) -> clinux_address {
        var address = clinux_address()
        address.length = Int32(bytes.count)
        withUnsafeMutableBytes(of: &address.bytes) { $0.copyBytes(from: bytes) }
        return address
    }
}
