import Glibc
import LinuxSystem
import SandboxModel

/// Finds where this machine gets Debian from, so that images come from the same mirror.
package struct DebianSources {
    /// `VERSION_CODENAME` of this machine if it is a Debian.
    let hostCodename: String?
    let sources: [AptSource]
    private let mirror: String?

    /// Reads apt's configuration of this machine; `MARTLET_DEBIAN_MIRROR` stands in for it where there is no Debian.
    package static func ofThisMachine() -> DebianSources {
        if let mirror = getenv("MARTLET_DEBIAN_MIRROR") { return DebianSources(mirror: String(cString: mirror)) }
        func text(_ path: String) -> String {
            (try? AtomicFile.read(path, limit: 1 << 20)).map { String(decoding: $0, as: UTF8.self) } ?? ""
        }
        var sources = AptSource.parse(oneLine: text("/etc/apt/sources.list"))
        let folder = "/etc/apt/sources.list.d"
        for name in StoreFiles.list(folder) {
            if name.hasSuffix(".list") { sources += AptSource.parse(oneLine: text("\(folder)/\(name)")) }
            if name.hasSuffix(".sources") { sources += AptSource.parse(deb822: text("\(folder)/\(name)")) }
        }
        return DebianSources(hostCodename: codename(osRelease: text("/etc/os-release")), sources: sources)
    }

    /// One mirror for every release, with Debian's own keys.
    package init(mirror: String) {
        self.mirror = mirror
        hostCodename = nil
        sources = []
    }

    /// What a machine's apt is configured with.
    package init(hostCodename: String?, sources: [AptSource]) {
        mirror = nil
        self.hostCodename = hostCodename
        self.sources = sources
    }

    /// The release's name if `/etc/os-release` says that this is a Debian.
    package static func codename(osRelease: String) -> String? {
        var values: [Substring: String] = [:]
        for line in osRelease.split(separator: "\n") {
            let parts = line.split(separator: "=", maxSplits: 1)
            if parts.count == 2 { values[parts[0]] = parts[1].filter { $0 != "\"" } }
        }
        return values["ID"] == "debian" ? values["VERSION_CODENAME"] : nil
    }

    /// The sources for a release, in deb822 format.
    ///
    /// A machine with another Debian release uses its mirrors with the release's name exchanged.
    /// - Throws: `failed_precondition` when this machine knows no Debian mirror.
    package func list(suite: String) throws(MartletError) -> String {
        if let mirror {
            guard mirror.hasPrefix("http://") || mirror.hasPrefix("https://"), mirror.utf8.allSatisfy({ $0 > 32 })
            else {
                throw MartletError(.failedPrecondition, "MARTLET_DEBIAN_MIRROR: '\(mirror)' is not an http address")
            }
            let keys = "/usr/share/keyrings/debian-archive-keyring.gpg"
            return AptSource(
                uris: [mirror], suites: [suite, suite + "-updates"], components: ["main"], signedBy: keys
            ).deb822
        }
        for from in [suite] + (hostCodename.map { [$0, "stable", "oldstable"] } ?? []) {
            let found = sources.compactMap { exchange($0, from: from, to: suite) }
            // Other vendors use Debian's release names too; the archive itself has "debian" in its address, as a rule.
            let archives = found.filter { $0.uris.allSatisfy { $0.contains("debian") } }
            let chosen = archives.isEmpty ? found : archives
            if chosen.contains(where: { $0.suites.contains(suite) }) {
                return chosen.map(\.deb822).joined(separator: "\n")
            }
        }
        throw MartletError(
            .failedPrecondition,
            "find packages of Debian \(suite): this machine's apt has no Debian source: "
                + "add one to /etc/apt/sources.list.d, or set MARTLET_DEBIAN_MIRROR to the address of a mirror")
    }

    private func exchange(_ source: AptSource, from: String, to suite: String) -> AptSource? {
        let suites = source.suites.compactMap { name -> String? in
            guard name.hasPrefix(from) else { return nil }
            let rest = name.dropFirst(from.count)
            return ["", "-updates", "-security"].contains(rest) ? suite + rest : nil
        }
        guard !suites.isEmpty, source.components.contains("main"),
            source.uris.allSatisfy({ !$0.hasPrefix("cdrom:") })
        else { return nil }
        return AptSource(uris: source.uris, suites: suites, components: ["main"], signedBy: source.signedBy)
    }
}
