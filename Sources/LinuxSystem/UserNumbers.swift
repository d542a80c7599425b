import Synchronization

/// Numbers of the host's users that belong to nobody, for processes of sandboxes: each is one's at a time.
public final class UserNumbers: Sendable {
    private let first: UInt32
    private let count: UInt32
    private let step: UInt32
    private let taken = Mutex<Set<UInt32>>([])

    /// - Parameters:
    ///   - first: the lowest number that is handed out.
    ///   - count: how many there are; many more than are ever taken at once.
    ///   - step: from one to the next, for whoever gets a range.
    public init(first: UInt32, count: UInt32, step: UInt32 = 1) {
        self.first = first
        self.count = count
        self.step = step
    }

    /// A number nobody has; drawn, so that those who were ended a moment ago are not confused with who comes.
    public func take() -> UInt32 {
        taken.withLock { taken in
            while true {
                let user = first + UInt32.random(in: 0..<count) * step
                if taken.insert(user).inserted { return user }
            }
        }
    }

    /// Notes that a process of an earlier daemon has this number.
    public func keep(_ user: UInt32) { taken.withLock { _ = $0.insert(user) } }

    /// Lets others have it; of one that nobody has this does nothing.
    public func giveBack(_ user: UInt32) { taken.withLock { _ = $0.remove(user) } }
}
