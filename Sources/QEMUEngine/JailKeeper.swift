import LinuxSystem
import NIOPosix
import SandboxModel

/// Makes the jail of an engine when the first machine needs it, and has it clean up after earlier daemons.
actor JailKeeper {
    private let configuration: QEMUJail.Configuration?
    private let directory: String
    /// By program; the first who wants one makes it, all others wait for that.
    private var jails: [String: Task<QEMUJail, any Error>] = [:]

    /// - Parameters:
    ///   - configuration: nil for no jail.
    ///   - directory: the engine's own.
    init(configuration: QEMUJail.Configuration?, directory: String) {
        self.configuration = configuration
        self.directory = directory
    }

    /// The jail for a program; nil where none is wanted.
    ///
    /// - Throws: `failed_precondition` saying what this host cannot do. It is tried again the next time.
    func jail(for program: String) async throws -> QEMUJail? {
        guard let configuration else { return nil }
        if let jail = jails[program] { return try await jail.value }
        // What earlier daemons have left of roots is theirs only until the first of ours is there.
        let (directory, isFirst) = (directory, jails.isEmpty)
        let jail = Task {
            try await QEMUJail(
                configuration: configuration, program: program, directory: directory, removesOldRoots: isFirst)
        }
        jails[program] = jail
        do {
            return try await jail.value
        } catch {
            jails[program] = nil
            throw error
        }
    }

    private var groups: ControlGroupParent? {
        configuration.flatMap { try? ControlGroupParent.make($0.groups, requiring: []) }
    }

    /// Ends whatever earlier daemons have left that is of none of these machines.
    func reclaimOthers(than directories: Set<String>) async {
        guard let groups else { return }
        _ = try? await NIOThreadPool.singleton.runIfActive { QEMUJail.clearOthers(than: directories, in: groups) }
    }

    /// Ends what a machine's control group still holds, and removes it.
    func reclaim(_ directory: String, user: UInt32?) async {
        guard let groups else { return }
        _ = try? await NIOThreadPool.singleton.runIfActive { QEMUJail.clear(directory, in: groups) }
        guard let user else { return }
        for jail in jails.values { try? await jail.value.users.giveBack(user) }
    }
}
