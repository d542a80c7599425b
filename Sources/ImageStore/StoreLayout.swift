import LinuxSystem
import SandboxModel

/// Where things are in a store.
struct StoreLayout: Sendable {
    enum Kind: String, Sendable, CaseIterable {
        case roots, kernels, initramfs, captures
    }

    let directory: String

    func parts(_ kind: Kind) -> String { "\(directory)/\(kind.rawValue)" }
    func part(_ kind: Kind, _ digest: String) -> String { "\(directory)/\(kind.rawValue)/\(digest)" }
    func record(_ name: String) -> String { "\(directory)/templates/\(name).json" }
    func buildLock(_ name: String) -> String { "\(directory)/templates/\(name).lock" }
    /// Held while a template is built out of another one, up to when it is known or given up.
    func deriveLock(_ name: String) -> String { "\(directory)/templates/\(name)\(StoreLayout.deriveSuffix)" }
    static let deriveSuffix = ".deriving"
    func buildLog(_ name: String) -> String { "\(directory)/logs/build-\(name).log" }
    var staging: String { directory + "/staging" }
    var corrupt: String { directory + "/corrupt" }

    func makeDirectories() throws(SystemError) {
        try StoreFiles.makeDirectory(directory)
        for name in Kind.allCases.map(\.rawValue) + ["templates", "logs", "staging", "corrupt"] {
            try StoreFiles.makeDirectory("\(directory)/\(name)")
        }
    }

    /// Makes a directory to build something in.
    func stage() throws(SystemError) -> StagingDirectory {
        try StagingDirectory(in: staging)
    }

    /// Names of the templates that have a record.
    func recordedNames() -> [String] {
        StoreFiles.list(directory + "/templates").filter { $0.hasSuffix(".json") }.map { String($0.dropLast(5)) }
    }

    /// Names of the templates that are built out of others, or were when their builder ended.
    func derivingNames() -> [String] {
        StoreFiles.list(directory + "/templates").filter { $0.hasSuffix(StoreLayout.deriveSuffix) }
            .map { String($0.dropLast(StoreLayout.deriveSuffix.count)) }
    }

    /// Puts a finished directory where it belongs, flushed to the disk.
    ///
    /// One that is there already and intact wins (its content is the same by its address); a corrupt one is moved
    /// aside first.
    func publish(_ staged: StagingDirectory, as kind: Kind, _ digest: String) throws {
        let target = part(kind, digest)
        while true {
            do {
                try StoreFiles.synchronize(staged.path)
                try StoreFiles.rename(staged.path, target)
                try StoreFiles.synchronize(parts(kind))
                staged.remove()
                return
            } catch  where StoreFiles.exists(target) {
                if (try? PartManifest.verified(in: target)) != nil {
                    staged.remove()
                    return
                }
                if !StoreFiles.exists(staged.path) { throw error }
                try moveAside(target)
            }
        }
    }

    /// Takes a corrupt part out of use, keeping it for a look.
    func moveAside(_ path: String) throws(SystemError) {
        let name = path.split(separator: "/").suffix(2).joined(separator: "-")
        let target = "\(corrupt)/\(name)-\(RandomID.make(prefix: "c", length: 8))"
        do {
            try StoreFiles.rename(path, target)
        } catch {
            // Another process moved it first: what matters is that it is gone.
            if StoreFiles.exists(path) { throw error }
        }
    }
}
