import CLinux
import Glibc
import LinuxSystem

/// The machine the agent is PID 1 of.
package struct Machine: MachineControl {
    private let rootDevice: String
    private let identity: IdentityFiles?
    private let random: Descriptor?
    private let root: Descriptor?
    private let connections: TCPConnections?
    private let hostKeys: HostKeyFiles?
    private var endsByRestart = false

    /// - Parameters:
    ///   - rootDevice: the block device that holds the root file system.
    ///   - identity: the files that name the machine; nil before they are in place.
    ///   - hostKeys: its SSH host keys, there or not.
    package init(rootDevice: String, identity: IdentityFiles? = nil, hostKeys: HostKeyFiles? = nil) {
        self.rootDevice = rootDevice
        self.identity = identity
        self.hostKeys = hostKeys
        // Held open: opening them at every hold and thaw is work on the way of a fork or a create.
        random = try? Descriptor.open("/dev/urandom", O_WRONLY)
        root = try? Descriptor.open("/", O_RDONLY | O_DIRECTORY)
        connections = try? TCPConnections()
    }

    /// The same where nothing but a restart ends the machine: its monitor has no power to switch off.
    var endingByRestart: Machine {
        var machine = self
        machine.endsByRestart = true
        return machine
    }

    package func setClock(nanoseconds: Int64) throws(SystemError) {
        try SystemError.check(clinux_set_realtime_ns(nanoseconds), "clock_settime")
    }

    package func reseed(entropy: [UInt8]) throws(SystemError) {
        // The kernel takes at most 512 bytes at once, four times what its generator holds.
        let bytes = Array(entropy.prefix(512))
        guard let random else { throw SystemError("reseed", "/dev/urandom", errno: ENODEV) }
        try SystemError.check(clinux_add_entropy(random.number, bytes, Int32(bytes.count)), "reseed", "/dev/urandom")
    }

    package func setIdentity(hostname: String, machineID: String) throws(SystemError) {
        try SystemError.check(clinux_set_hostname(hostname, hostname.utf8.count), "sethostname", hostname)
        guard let identity else { throw SystemError("set identity", "/etc", errno: ENOENT) }
        try identity.write(hostname: hostname, machineID: machineID)
    }

    package func publishEnvironment(_ environment: [String]) throws(SystemError) {
        guard let identity else { throw SystemError("publish", "environment", errno: ENOENT) }
        try identity.write(environment: environment)
    }

    package func renewGeneration() throws(SystemError) {
        guard let identity else { throw SystemError("renew", "generation", errno: ENOENT) }
        try identity.renewGeneration()
    }

    package func hasOuterConnections() throws(SystemError) -> Bool {
        guard let connections else { throw SystemError("list", "connections", errno: EPROTONOSUPPORT) }
        return try connections.list().contains { !$0.isLoopback }
    }

    package func dropConnections() throws(SystemError) {
        guard let connections else { throw SystemError("end", "connections", errno: EPROTONOSUPPORT) }
        try connections.endAllBeyondLoopback()
    }

    package func hasHostKeys() throws(SystemError) -> Bool { try hostKeys?.areThere() ?? false }

    package func removeHostKeys() throws(SystemError) -> [String] { try hostKeys?.removeAll() ?? [] }

    package func trust(certificate: [UInt8]) throws(SystemError) { try TrustStore().trust(certificate) }

    package func growDisk(to bytes: UInt64) throws(SystemError) {
        // The disk may have grown a moment ago only: its driver hears of it by an interrupt.
        var size = clinux_block_device_bytes(rootDevice)
        var tries = 0
        while size < bytes, tries < 50 {
            tries += 1
            _ = clinux_poll_one(-1, 0, 2)
            size = clinux_block_device_bytes(rootDevice)
        }
        guard size >= bytes else { throw SystemError("grow", rootDevice, errno: ENOSPC) }
        try SystemError.check(clinux_grow_ext4("/", size), "grow", "/")
    }

    package func synchronize() throws(SystemError) {
        guard let root else { throw SystemError("syncfs", "/", errno: ENOENT) }
        try SystemError.check(clinux_syncfs(root.number), "syncfs", "/")
    }

    package func powerOff() {
        _ = clinux_kill(-1, SIGKILL)
        _ = clinux_sync_filesystem("/")
        _ = clinux_mount(nil, "/", nil, UInt(MS_REMOUNT | MS_RDONLY), nil)
        _ = endsByRestart ? clinux_restart() : clinux_power_off()
    }
}
