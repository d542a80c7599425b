import LinuxSystem

/// What the agent does to the machine it runs on; the one thing that must not be real where the machine is a host.
package protocol MachineControl: Sendable {
    /// Steps the wall clock to so many nanoseconds after 1970.
    func setClock(nanoseconds: Int64) throws(SystemError)
    /// Mixes fresh random bytes into the kernel's generator and makes it reseed.
    func reseed(entropy: [UInt8]) throws(SystemError)
    /// Makes the machine known, to itself, under these names.
    func setIdentity(hostname: String, machineID: String) throws(SystemError)
    /// Tells root's programs the environment that programs are started with, `NAME=value` pairs.
    func publishEnvironment(_ environment: [String]) throws(SystemError)
    /// Gives the machine's generation file a new value; to be done once the kernel's generator is reseeded.
    func renewGeneration() throws(SystemError)
    /// Whether there is a TCP connection with an address that is not loopback.
    func hasOuterConnections() throws(SystemError) -> Bool
    /// Ends every TCP connection with an address that is not loopback.
    func dropConnections() throws(SystemError)
    /// Whether there are SSH host keys.
    func hasHostKeys() throws(SystemError) -> Bool
    /// Removes the SSH host keys; returns of which kinds they were.
    func removeHostKeys() throws(SystemError) -> [String]
    /// Makes programs trust an authority (PEM) besides the system's.
    func trust(certificate: [UInt8]) throws(SystemError)
    /// Grows the root file system to the size of its disk, once the disk has `bytes`.
    func growDisk(to bytes: UInt64) throws(SystemError)
    /// Brings everything written to the disk.
    func synchronize() throws(SystemError)
    /// Kills everything and switches the machine off; may return where there is no machine to switch off.
    func powerOff()
}
