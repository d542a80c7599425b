import ControlPlane
import SandboxModel
import Synchronization

/// Watches whose events a client asks for now and then. What is not asked for waits in the guest, which bounds it; a
/// client that never comes back loses its watch once others need the room.
final class Watchers: Sendable {
    fileprivate struct Entry {
        let sandbox: String
        let target: WatchTarget
        var watch: FileWatch
        /// When it was last asked for, counted in requests.
        var used: UInt64
    }

    /// Watches of one sandbox.
    private static let maxPerSandbox = 64
    private static let maxEntries = 4096

    fileprivate struct State {
        var entries: [String: Entry] = [:]
        var requests: UInt64 = 0
    }

    private let state = Mutex(State())

    /// - Returns: the id to ask by.
    func add(_ watch: FileWatch, on target: WatchTarget, of sandbox: String) -> String {
        let id = RandomID.make(prefix: "w")
        // Let go of outside the lock: that tells their guests.
        let dropped = state.withLock { state in
            state.requests += 1
            var dropped: [Entry?] = []
            if state.entries.values.count(where: { $0.sandbox == sandbox }) >= Watchers.maxPerSandbox {
                dropped.append(state.removeOldest { $0.sandbox == sandbox })
            } else if state.entries.count >= Watchers.maxEntries {
                dropped.append(state.removeOldest { _ in true })
            }
            state.entries[id] = Entry(sandbox: sandbox, target: target, watch: watch, used: state.requests)
            return dropped
        }
        withExtendedLifetime(dropped) {}
        return id
    }

    func watch(_ id: String, of sandbox: String) -> (watch: FileWatch, target: WatchTarget)? {
        state.withLock { state in
            guard var entry = state.entries[id], entry.sandbox == sandbox else { return nil }
            state.requests += 1
            entry.used = state.requests
            state.entries[id] = entry
            return (entry.watch, entry.target)
        }
    }

    func replace(_ id: String, with watch: FileWatch, of sandbox: String) {
        let old = state.withLock { state in
            let old = state.entries[id]
            if old?.sandbox == sandbox { state.entries[id]?.watch = watch }
            return old
        }
        withExtendedLifetime(old) {}
    }

    /// - Returns: whether there was such a watch.
    func remove(_ id: String, of sandbox: String) -> Bool {
        let old = state.withLock { state in
            state.entries[id]?.sandbox == sandbox ? state.entries.removeValue(forKey: id) : nil
        }
        return old != nil
    }
}

extension Watchers.State {
    fileprivate mutating func removeOldest(where holds: (Watchers.Entry) -> Bool) -> Watchers.Entry? {
        let oldest = entries.filter { holds($0.value) }.min { $0.value.used < $1.value.used }
        return oldest.flatMap { entries.removeValue(forKey: $0.key) }
    }
}
