import ControlStore
import SandboxModel
import Synchronization

/// A port as it is published now; published anew it is another one.
struct Publication: Sendable {
    let record: PortRecord
    /// Opens when it is taken back, for those who are using it.
    let ended = Latch()

    /// Whether a public port is still to be reached.
    func isOver(at now: Timestamp) -> Bool { record.visibility == .public && isExpired(at: now) }

    func isExpired(at now: Timestamp) -> Bool { record.expiresAt.map { $0 <= now } ?? false }
}

/// The published ports of every sandbox, in memory: what requests are checked against.
final class PublishedPorts: Sendable {
    private let state = Mutex<[SandboxID: [UInt16: Publication]]>([:])

    func publication(_ port: UInt16, of sandbox: SandboxID) -> Publication? {
        state.withLock { $0[sandbox]?[port] }
    }

    /// All of a sandbox, those that are over included.
    func everything(of sandbox: SandboxID) -> [Publication] {
        state.withLock { state in state[sandbox].map { Array($0.values) } ?? [] }
    }

    /// All of a sandbox that are not over, by number.
    func all(of sandbox: SandboxID, at now: Timestamp) -> [Publication] {
        everything(of: sandbox).filter { !$0.isOver(at: now) }.sorted { $0.record.port < $1.record.port }
    }

    /// Puts one in, in place of the one before, whose users are let go.
    func put(_ record: PortRecord) -> Publication {
        let publication = Publication(record: record)
        let old = state.withLock { $0[record.sandbox, default: [:]].updateValue(publication, forKey: record.port) }
        old?.ended.open()
        return publication
    }

    /// Takes one out, and lets its users go; false if it was not there.
    @discardableResult
    func remove(_ port: UInt16, of sandbox: SandboxID) -> Bool {
        let old = state.withLock { state in
            let old = state[sandbox]?.removeValue(forKey: port)
            if state[sandbox]?.isEmpty == true { state[sandbox] = nil }
            return old
        }
        old?.ended.open()
        return old != nil
    }

    /// Takes all of a sandbox that is gone out.
    func removeAll(of sandbox: SandboxID) {
        let gone = state.withLock { $0.removeValue(forKey: sandbox) } ?? [:]
        for publication in gone.values { publication.ended.open() }
    }
}
