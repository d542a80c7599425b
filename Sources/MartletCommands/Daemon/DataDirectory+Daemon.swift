import LinuxSystem
import MartletClient

extension DataDirectory {
    /// Locked by the daemon for as long as it lives.
    var daemonLock: String { path + "/daemon.lock" }
    /// Locked by whoever is about to start the daemon, until it is ready.
    var startLock: String { path + "/start.lock" }
    /// What a daemon in the background writes.
    var daemonLog: String { path + "/daemon.log" }
    /// Tells where the running daemon listens.
    var daemonFile: String { path + "/daemon.json" }
    /// The control plane's database.
    var database: String { path + "/martlet.sqlite" }
    /// Templates and captures, unless told otherwise.
    var images: String { path + "/images" }
    /// The node's machines.
    var node: String { path + "/node" }
    /// What the QEMU engine keeps for itself.
    var qemu: String { path + "/qemu" }
    /// What the Firecracker engine keeps for itself.
    var firecracker: String { path + "/firecracker" }
    /// What the host's network keeps for itself.
    var network: String { path + "/network" }
}

extension DataDirectory {
    /// What engines without a virtual machine keep for themselves.
    var containers: String { path + "/containers" }

    /// Names the control groups of those engines; QEMU's have the name without the prefix.
    var containerGroups: String { "containers-" + ControlGroupParent.name(for: path) }

    /// Names the control groups of Firecracker's machines.
    var firecrackerGroups: String { "firecracker-" + ControlGroupParent.name(for: path) }
}
