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
    /// What the host's network keeps for itself.
    var network: String { path + "/network" }
}
