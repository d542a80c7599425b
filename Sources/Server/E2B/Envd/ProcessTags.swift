import E2BProtocol
import SandboxModel
import Synchronization

/// What a client has said of the processes it started and our agent does not keep: tags and environments. It is gone when
/// the daemon ends; processes are found by number then.
final class ProcessTags: Sendable {
    struct Entry: Sendable {
        var pid: Int32
        var tag: String?
        var environment: [String: String]
    }

    /// Entries kept of one sandbox: as many as its agent remembers processes.
    private static let maxEntries = 256
    private static let maxSandboxes = 4096

    private let entries = Mutex<[String: [Entry]]>([:])

    func note(_ entry: Entry, of sandbox: String) {
        guard entry.tag != nil || !entry.environment.isEmpty else { return }
        entries.withLock { entries in
            if entries[sandbox] == nil, entries.count >= ProcessTags.maxSandboxes, let any = entries.keys.first {
                entries[any] = nil
            }
            var list = entries[sandbox, default: []].filter { $0.pid != entry.pid }
            if list.count >= ProcessTags.maxEntries { list.removeFirst() }
            list.append(entry)
            entries[sandbox] = list
        }
    }

    func entry(_ pid: Int32, of sandbox: String) -> Entry? {
        entries.withLock { $0[sandbox]?.first { $0.pid == pid } }
    }

    /// The process that was last started with a tag.
    func pid(tagged tag: String, in sandbox: String) -> Int32? {
        entries.withLock { $0[sandbox]?.last { $0.tag == tag }?.pid }
    }
}
