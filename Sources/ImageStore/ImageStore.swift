import Glibc
import LinuxSystem
import Logging
import SandboxModel

/// Templates and captures on this machine's storage.
///
/// Any number of processes may use one directory. Parts (root disks, kernels, initramfs archives, captures) are
/// directories named by their content; each is made aside, flushed, and renamed into place when whole, so that
/// nothing half-built is ever seen, whatever is killed when.
package actor ImageStore {
    let layout: StoreLayout
    let templatesDirectory: String
    let guestAgent: String
    let logger: Logger

    /// The last answer per template, good as long as none of the files it came from has changed.
    var images: [String: CachedImage] = [:]
    var agentDigest: (stamp: FileStamp, digest: String)?
    /// The templates behind each alias, as long as no definition has changed.
    private var aliases: (stamps: [String: FileStamp], owners: [String: [String]])?
    /// The parts behind each template id given out, so that a capture can be tied to them.
    var partsByID: [String: [String: String]] = [:]

    struct CachedImage {
        var stamps: [String: FileStamp]
        var image: TemplateImage
    }

    /// Opens a store, making its directories where they are missing.
    ///
    /// - Parameters:
    ///   - directory: an absolute path; made readable for its owner only.
    ///   - templatesDirectory: where the template definitions are (`<name>/template.yaml`).
    ///   - guestAgent: path of the static agent binary, which need not exist yet.
    /// - Throws: `failed_precondition` when the directory cannot be used.
    package init(directory: String, templatesDirectory: String, guestAgent: String, logger: Logger) throws {
        layout = StoreLayout(directory: directory)
        self.templatesDirectory = templatesDirectory
        self.guestAgent = guestAgent
        self.logger = logger
        do {
            try layout.makeDirectories()
        } catch {
            throw MartletError(.failedPrecondition, "open image store: \(directory): \(error)")
        }
    }

    // MARK: Definitions

    /// Names of the templates that have a definition, sorted.
    package func templateNames() -> [String] {
        StoreFiles.list(templatesDirectory).filter {
            SandboxName(rawValue: $0) != nil && StoreFiles.exists(definitionPath($0))
        }
    }

    func definitionPath(_ name: String) -> String { "\(templatesDirectory)/\(name)/template.yaml" }

    /// Reads the definition of a template.
    ///
    /// - Throws: `invalid_argument` for a name that is none, `not_found`, or `failed_precondition` naming file and key.
    package func definition(named name: String) throws -> TemplateDefinition {
        let name = try canonicalName(name)
        if let derived = derived(name) { return derived.definition }
        let path = definitionPath(name)
        guard StoreFiles.exists(path) else { throw unknownTemplate(name) }
        var definition = try parse(name)
        definition.files = try TemplateFiles.read(filesPath(name))
        let known = Set(definition.files?.entries.map(\.path) ?? [])
        if let stray = definition.fileRules.first(where: { !known.contains($0.path) }) {
            throw MartletError(
                .failedPrecondition,
                "template \(name) is not usable: \(path): files: \(stray.path) is not in \(filesPath(name))")
        }
        return definition
    }

    /// What the record of a template says that was built out of another one; nil for all others.
    func derived(_ name: String) -> TemplateRecord.Derived? {
        (try? TemplateRecord.unseal(layout.record(name)))?.derived
    }

    func filesPath(_ name: String) -> String { "\(templatesDirectory)/\(name)/files" }

    private func parse(_ name: String) throws -> TemplateDefinition {
        let path = definitionPath(name)
        let bytes = try AtomicFile.read(path, limit: 64 << 10)
        return try TemplateParser(file: path, name: name).parse(String(decoding: bytes, as: UTF8.self))
    }

    private func unknownTemplate(_ name: String) -> MartletError {
        let known = templateNames().joined(separator: ", ")
        return MartletError(.notFound, "no template '\(name)'; there are: \(known.isEmpty ? "none" : known)")
    }

    // MARK: Aliases

    /// The name of the template that is called `name`: its own, or that of the one template with this alias.
    ///
    /// A name that is neither comes back as it is. Costs a few `stat`s while no definition changes.
    /// - Throws: `invalid_argument` for a name that is none, `failed_precondition` when two templates have the alias.
    package func canonicalName(_ name: String) throws -> String {
        _ = try SandboxName.parse(name, field: "template")
        if StoreFiles.exists(definitionPath(name)) || StoreFiles.exists(layout.record(name)) { return name }
        let owners = currentAliases()[name] ?? []
        guard owners.count <= 1 else {
            throw MartletError(
                .failedPrecondition,
                "template alias '\(name)' is claimed by \(owners.joined(separator: " and ")): take it from one of them")
        }
        return owners.first ?? name
    }

    /// Which templates claim each alias; a definition that cannot be read claims none.
    private func currentAliases() -> [String: [String]] {
        let names = templateNames()
        var stamps: [String: FileStamp] = [:]
        for name in names { stamps[name] = FileStamp(path: definitionPath(name)) }
        if let aliases, aliases.stamps == stamps { return aliases.owners }
        var owners: [String: [String]] = [:]
        for name in names {
            for alias in (try? parse(name))?.aliases ?? [] { owners[alias, default: []].append(name) }
        }
        aliases = (stamps, owners)
        return owners
    }

    /// The digest of the agent binary, computed again only when the file has changed.
    func currentAgentDigest() async throws -> String {
        guard let stamp = FileStamp(path: guestAgent), !stamp.isDirectory else {
            throw MartletError(
                .failedPrecondition, "the guest agent is not built: \(guestAgent) is missing: run scripts/build-guest")
        }
        if let agentDigest, agentDigest.stamp == stamp { return agentDigest.digest }
        let path = guestAgent
        let digest = try await BlockingWork.run { try Digest.hex(ofFile: path) }
        agentDigest = (stamp, digest)
        return digest
    }
}
