import SandboxModel
import Synchronization

/// The builds that the daemon remembers since its start, the oldest of those that are over go first.
final class TemplateBuildLogs: Sendable {
    /// Builds remembered after their end.
    private static let remembered = 100

    private let logs = Mutex<[TemplateBuildLog]>([])

    func add(_ log: TemplateBuildLog) {
        logs.withLock { logs in
            logs.append(log)
            while logs.count(where: \.isOver) > TemplateBuildLogs.remembered,
                let index = logs.firstIndex(where: \.isOver)
            {
                logs.remove(at: index)
            }
        }
    }

    /// The build of a host's template that is under way, or a new one.
    func underWay(_ template: String, force: Bool) -> (log: TemplateBuildLog, isNew: Bool) {
        let found = logs.withLock { $0.first { $0.template == template && $0.owner == nil && !$0.isOver } }
        if let found { return (found, false) }
        let log = TemplateBuildLog(template: template, force: force)
        add(log)
        return (log, true)
    }

    /// - Throws: `not_found`, also for one that is not the caller's.
    func find(_ id: String, of template: String? = nil, caller: Caller) throws(MartletError) -> TemplateBuildLog {
        let log = logs.withLock { $0.first { $0.id == id && (template ?? $0.template) == $0.template } }
        guard let log, log.isVisible(to: caller) else {
            throw MartletError(.notFound, "template build: '\(id.printable)' is not known; a restart forgets builds")
        }
        return log
    }

    /// All that are not over.
    var open: [TemplateBuildLog] { logs.withLock { $0.filter { !$0.isOver } } }
}
