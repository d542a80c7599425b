import NIOCore
import SandboxModel

/// Which names the guest has looked up stand for which addresses: what a connection's destination is read back to.
///
/// A pin holds for a while after the answer, and as long as a connection uses it.
struct PinTable {
    private struct Pin {
        var expires: NIODeadline
        var uses = 0
    }

    let capacity: Int
    private var pins: [IPv4Address: [String: Pin]] = [:]
    private var addresses: [String: Set<IPv4Address>] = [:]
    private(set) var count = 0

    init(capacity: Int = 8192) { self.capacity = capacity }

    /// Pins a name to an address until a time at least; false when every pin there is room for is in use.
    mutating func pin(_ name: String, to address: IPv4Address, until expires: NIODeadline, now: NIODeadline) -> Bool {
        if var pin = pins[address]?[name] {
            pin.expires = max(pin.expires, expires)
            pins[address]?[name] = pin
            return true
        }
        if count >= capacity { makeRoom(now) }
        guard count < capacity else { return false }
        pins[address, default: [:]][name] = Pin(expires: expires)
        addresses[name, default: []].insert(address)
        count += 1
        return true
    }

    func isPinned(_ name: String, to address: IPv4Address, now: NIODeadline) -> Bool {
        guard let pin = pins[address]?[name] else { return false }
        return pin.uses > 0 || pin.expires > now
    }

    /// The names an address stands for.
    func names(of address: IPv4Address, now: NIODeadline) -> [String] {
        guard let found = pins[address] else { return [] }
        return found.filter { $0.value.uses > 0 || $0.value.expires > now }.map(\.key)
    }

    /// The addresses a name stands for.
    func addresses(of name: String, now: NIODeadline) -> [IPv4Address] {
        (addresses[name] ?? []).filter { isPinned(name, to: $0, now: now) }.sorted()
    }

    /// Keeps a pin from expiring, until as many calls of `release`.
    mutating func retain(_ name: String, _ address: IPv4Address) { pins[address]?[name]?.uses += 1 }

    mutating func release(_ name: String, _ address: IPv4Address) {
        guard let pin = pins[address]?[name], pin.uses > 0 else { return }
        pins[address]?[name]?.uses -= 1
    }

    mutating func removeAll(where isGone: (String) -> Bool) {
        for (name, bound) in addresses where isGone(name) {
            for address in bound { remove(name, address) }
        }
    }

    /// Drops what has expired, and if that is not enough an eighth of what would expire first.
    private mutating func makeRoom(_ now: NIODeadline) {
        var idle: [(NIODeadline, String, IPv4Address)] = []
        for (address, names) in pins {
            for (name, pin) in names where pin.uses == 0 { idle.append((pin.expires, name, address)) }
        }
        idle.sort { $0.0 < $1.0 }
        let expired = idle.prefix { $0.0 <= now }.count
        for (_, name, address) in idle.prefix(max(expired, capacity / 8)) { remove(name, address) }
    }

    private mutating func remove(_ name: String, _ address: IPv4Address) {
        guard pins[address]?.removeValue(forKey: name) != nil else { return }
        count -= 1
        if pins[address]?.isEmpty == true { pins[address] = nil }
        addresses[name]?.remove(address)
        if addresses[name]?.isEmpty == true { addresses[name] = nil }
    }
}
