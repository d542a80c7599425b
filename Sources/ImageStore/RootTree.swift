import Glibc
import LinuxSystem

/// A fresh Debian tree that becomes the root of guests: what a machine has of its own is taken out of it.
package struct RootTree: Sendable {
    package let path: String

    /// A tree that is there already.
    package init(path: String) { self.path = path }

    /// Names, identity and name servers are the guest's own, set when it is handed out.
    package func configure() throws {
        try write("etc/hostname", "martlet\n")
        try write(
            "etc/hosts",
            "127.0.0.1\tlocalhost martlet\n::1\t\tlocalhost ip6-localhost ip6-loopback\n")
        try write("etc/resolv.conf", "")
        // Empty means "not set yet"; a missing file would make some programs invent one.
        try write("etc/machine-id", "")
        try write("etc/fstab", "/dev/vda / ext4 defaults 0 0\n")
        try write("etc/default/locale", "LANG=C.UTF-8\n")
        try StoreFiles.remove(path + "/var/lib/dbus/machine-id")
        for name in StoreFiles.list(path + "/var/log") where name.hasSuffix(".log") {
            try StoreFiles.remove(path + "/var/log/" + name)
        }
        for folder in ["var/lib/apt/lists", "var/cache/apt/archives"] {
            for name in StoreFiles.list("\(path)/\(folder)") where name != "partial" {
                try StoreFiles.remove("\(path)/\(folder)/\(name)")
            }
        }
    }

    private func write(_ name: String, _ text: String) throws {
        // The old file may be a link out of the tree: it is replaced, never written through.
        try StoreFiles.remove(path + "/" + name)
        try AtomicFile.write(Array(text.utf8), to: path + "/" + name, mode: 0o644, durable: false)
        try StoreFiles.setMode(path + "/" + name, 0o644)
    }
}
