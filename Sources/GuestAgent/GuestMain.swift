import CLinux
import Glibc
import LinuxSystem

/// The agent's program: PID 1 of a machine or of a container, or a process that serves a descriptor it was given.
package enum GuestMain {
    /// Never returns; the exit status is 0, or 2 with a line on standard error.
    package static func run(procError: Int32, arguments: [String]) -> Never {
        // A kernel hands words of its command line it does not know to PID 1, so others may be there.
        if arguments.dropFirst().first == "--container" { ContainerBoot.run(Array(arguments.dropFirst(2))) }
        if getpid() == 1, !arguments.contains("--descriptor") { Boot.run(procError: procError) }
        guard arguments.count == 3, arguments[1] == "--descriptor", let descriptor = Int32(arguments[2]) else {
            Console.say("usage: martlet-guest --descriptor NUMBER (or without arguments, as PID 1 of a machine)")
            exit(2)
        }
        // Orphans of what it starts come to it instead of to a stranger.
        let reaping: AgentConfiguration.Reaping =
            getpid() == 1 || clinux_become_subreaper() == 0 ? .everyChild : .ownChildren
        do throws(SystemError) {
            try Agent(
                AgentConfiguration(
                    descriptor: descriptor, reaping: reaping, machine: NoMachine(), log: { Console.say($0) })
            ).run()
        } catch {
            Console.say("cannot serve: \(error)")
            exit(2)
        }
        exit(0)
    }
}

/// A machine that belongs to someone else: nothing of it is the agent's to change.
private struct NoMachine: MachineControl {
    func setClock(nanoseconds: Int64) throws(SystemError) { throw refusal("set clock") }
    func reseed(entropy: [UInt8]) throws(SystemError) { throw refusal("reseed") }
    func setIdentity(hostname: String, machineID: String) throws(SystemError) { throw refusal("set identity") }
    func publishEnvironment(_ environment: [String]) throws(SystemError) { throw refusal("publish environment") }
    func renewGeneration() throws(SystemError) { throw refusal("renew generation") }
    func dropConnections() throws(SystemError) { throw refusal("end connections") }
    func hasOuterConnections() throws(SystemError) -> Bool { throw refusal("list connections") }
    func hasHostKeys() throws(SystemError) -> Bool { throw refusal("look for host keys") }
    func removeHostKeys() throws(SystemError) -> [String] { throw refusal("remove host keys") }
    func trust(certificate: [UInt8]) throws(SystemError) { throw refusal("trust a certificate") }
    func growDisk(to bytes: UInt64) throws(SystemError) { throw refusal("grow disk") }
    func synchronize() throws(SystemError) { sync() }
    func powerOff() { exit(0) }
    private func refusal(_ call: String) -> SystemError { SystemError(call, "machine", errno: EPERM) }
}
