import Glibc
import GuestProtocol
import LinuxSystem

/// Makes a restored guest its own, step by step, and lets its programs go once every step is done.
final class ThawService {
    /// What there is to do away with at a thaw, found out while programs were held: nothing of it changes until they are
    /// let go. In the guest that holds, all this is quick; in a copy of it, under emulation, each step would be code that
    /// is translated for the first time.
    private struct Survey {
        var hasConnections: Bool
        var hasHostKeys: Bool
    }

    private var survey: Survey?
    private let machine: any MachineControl
    private let processes: ProcessTable
    private let programs: HeldPrograms?
    private let services: ServiceSupervisor
    private let hostKeys: HostKeyRenewal
    private let log: @Sendable (String) -> Void

    init(
        configuration: AgentConfiguration, processes: ProcessTable, programs: HeldPrograms?,
        services: ServiceSupervisor
    ) {
        machine = configuration.machine
        self.processes = processes
        self.programs = programs
        self.services = services
        hostKeys = HostKeyRenewal(places: configuration.hostKeys, processes: processes, log: configuration.log)
        log = configuration.log
    }

    /// Looks at what a thaw may have to do away with; programs are held. What cannot be told is done then.
    func prepare() {
        survey = try? Survey(
            hasConnections: machine.hasOuterConnections(),
            hasHostKeys: hostKeys.isUnderWay || machine.hasHostKeys())
    }

    /// Programs go on in this guest: what was found holds no longer.
    func forget() { survey = nil }

    func thaw(_ request: Thaw) -> Thawed {
        let drops = request.dropsConnections && survey?.hasConnections != false
        let renews = request.renewsHostKeys && survey?.hasHostKeys != false
        // The clock first: what the host read ages with every step before it.
        let clock = attempt { () throws(SystemError) in
            try machine.setClock(nanoseconds: request.wallClockNanoseconds)
        }
        let generator = attempt { () throws(SystemError) in try machine.reseed(entropy: request.entropy) }
        let identity = request.keepsIdentity || attempt { () throws(SystemError) in try setIdentity(request) }
        let environment = processes.setEnvironment(request.environment, keeping: request.keepsEnvironment)
        // Services were started before the sandbox had an environment, and read it here; others were given it.
        let published =
            services.isEmpty
            || attempt { () throws(SystemError) in try machine.publishEnvironment(environment) }
        let trusted =
            request.trustedCertificate.isEmpty
            || attempt { () throws(SystemError) in
                try machine.trust(certificate: Array(request.trustedCertificate.utf8))
            }
        let connections =
            !drops || attempt { () throws(SystemError) in try machine.dropConnections() }
        let keys = !renews || attempt { () throws(SystemError) in try renewHostKeys() }
        // Programs with a generator of their own learn by it that they must reseed theirs.
        let generation = attempt { () throws(SystemError) in try machine.renewGeneration() }
        let disk =
            request.diskBytes == 0
            || attempt { () throws(SystemError) in try machine.growDisk(to: request.diskBytes) }
        let thawed = Thawed(
            clockSet: clock, generatorReseeded: generator && generation, identitySet: identity && published,
            diskGrown: disk, connectionsDropped: connections, hostKeysRenewed: keys, certificateTrusted: trusted)
        if thawed.isComplete {
            survey = nil
            programs?.release()
        }
        return thawed
    }

    private func setIdentity(_ request: Thaw) throws(SystemError) {
        processes.setDefaultUser(request.user)
        guard isName(request.hostname), isMachineID(request.machineID) else {
            throw SystemError("set identity", request.hostname, errno: EINVAL)
        }
        try machine.setIdentity(hostname: request.hostname, machineID: request.machineID)
    }

    private func renewHostKeys() throws(SystemError) {
        // Also what a renewal before the capture was about to make: its random numbers are those of the parent.
        let unfinished = hostKeys.abandon()
        let removed = try machine.removeHostKeys()
        hostKeys.start(unfinished + removed.filter { !unfinished.contains($0) })
    }

    private func attempt(_ body: () throws(SystemError) -> Void) -> Bool {
        do throws(SystemError) {
            try body()
            return true
        } catch {
            log("thaw: \(error)")
            return false
        }
    }

    /// Whether a host name is one label or more of what DNS allows, so that it can stand in any file.
    private func isName(_ name: String) -> Bool {
        (1...64).contains(name.utf8.count)
            && name.utf8.allSatisfy { byte in
                (48...57).contains(byte) || (97...122).contains(byte) || (65...90).contains(byte) || byte == 45
                    || byte == 46
            }
    }

    private func isMachineID(_ text: String) -> Bool {
        text.utf8.count == 32 && text.utf8.allSatisfy { (48...57).contains($0) || (97...102).contains($0) }
    }
}

extension [String] {
    /// `NAME=value` entries with others laid over them: one that is there is replaced, a new one goes to the end.
    func overlaid(with others: [String]) -> [String] {
        guard !isEmpty else { return others }
        var result = self
        for entry in others {
            let name = entry.prefix { $0 != "=" }
            if let position = result.firstIndex(where: { $0.prefix { $0 != "=" } == name }) {
                result[position] = entry
            } else {
                result.append(entry)
            }
        }
        return result
    }
}
