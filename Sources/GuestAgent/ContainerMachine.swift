import CLinux
import Glibc
import LinuxSystem

/// A sandbox that shares a kernel, as its agent may change it. What belongs to that kernel is left alone: clock and random
/// generator are the host's, never copied and so never stale.
struct ContainerMachine: MachineControl {
    /// A clock that is further off is not the host's.
    private static let clockTolerance: Int64 = 5_000_000_000

    let identity: IdentityFiles
    /// Where its SSH host keys are; nil where there are no copies of it that would need others.
    let hostKeys: HostKeyFiles?

    func setClock(nanoseconds: Int64) throws(SystemError) {
        guard abs(Clocks.realtimeNanoseconds - nanoseconds) < ContainerMachine.clockTolerance else {
            throw SystemError("set clock", "the kernel's, which is shared", errno: EPERM)
        }
    }

    /// The generator is the host's own: what it gives nobody else is given.
    func reseed(entropy: [UInt8]) throws(SystemError) {}

    func setIdentity(hostname: String, machineID: String) throws(SystemError) {
        try SystemError.check(clinux_set_hostname(hostname, hostname.utf8.count), "sethostname", hostname)
        try identity.write(hostname: hostname, machineID: machineID)
    }

    func publishEnvironment(_ environment: [String]) throws(SystemError) {
        try identity.write(environment: environment)
    }

    func renewGeneration() throws(SystemError) { try identity.renewGeneration() }

    /// gVisor captures nothing that has any.
    func hasOuterConnections() throws(SystemError) -> Bool {
        guard hostKeys != nil else { throw refusal("list connections") }
        return false
    }

    func dropConnections() throws(SystemError) { _ = try hasOuterConnections() }

    func hasHostKeys() throws(SystemError) -> Bool {
        guard let hostKeys else { throw refusal("look for host keys") }
        return try hostKeys.areThere()
    }

    func removeHostKeys() throws(SystemError) -> [String] {
        guard let hostKeys else { throw refusal("remove host keys") }
        return try hostKeys.removeAll()
    }

    func trust(certificate: [UInt8]) throws(SystemError) { try TrustStore().trust(certificate) }

    /// The host has grown it by now.
    func growDisk(to bytes: UInt64) throws(SystemError) {
        var space = clinux_space()
        try SystemError.check(clinux_filesystem_space("/", &space), "statfs", "/")
        // What a file system needs for itself is not counted.
        guard space.total >= bytes / 10 * 9 else { throw SystemError("grow", "/", errno: ENOSPC) }
    }

    func synchronize() throws(SystemError) { try SystemError.check(clinux_sync_filesystem("/"), "syncfs", "/") }

    func powerOff() { exit(0) }

    /// For copies of a sandbox only, and there are none of a jail of the host's kernel.
    private func refusal(_ call: String) -> SystemError { SystemError(call, "a shared kernel", errno: EOPNOTSUPP) }
}
