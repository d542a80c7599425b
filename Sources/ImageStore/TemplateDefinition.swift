import SandboxModel

/// What a template is made of, as written in `templates/<name>/template.yaml`.
package struct TemplateDefinition: Sendable, Hashable, Codable {
    package var name: String
    package var description: String
    /// The Debian release of the root disk, for example `bookworm`.
    package var suite: String
    /// Debian packages installed beside the minimal system.
    package var packages: [String]
    /// Patterns of paths that packages leave out, as dpkg's `path-exclude` takes them.
    package var exclude: [String]
    /// The kernel package; a meta package is followed to the kernel it stands for.
    package var kernel: String
    /// Size of the root disk; the image file is sparse.
    package var diskMiB: Int
    package var cpus: Int
    package var memoryMiB: Int
    /// What isolates its sandboxes unless they ask for something else.
    package var isolation: IsolationChoice?
    /// Environment of every program run in a sandbox of this template.
    package var env: [String: String]
    /// Who programs run as unless the caller says otherwise; empty means root.
    package var user: String
    /// Programs run once in the guest before it is captured, so that what they load is in memory for ever after.
    package var warmup: [[String]]
    /// Programs run in a sandbox that is kept ready, so that what they do is quick for who gets it.
    package var rehearsal: [[String]]
    /// Other names a sandbox of it may be asked for by.
    package var aliases: [String]
    /// Container images that builders of templates know, and that it stands in for.
    package var images: [String]
    /// What is copied into the root disk; nil is nothing.
    package var files: TemplateFiles?
    package var fileRules: [TemplateFileRule]
    /// Programs that run in every sandbox of it.
    package var services: [TemplateService]

    /// Makes a definition with the same defaults as an empty `template.yaml`.
    package init(name: String, description: String = "", suite: String = "bookworm", packages: [String] = []) {
        self.name = name
        self.description = description
        self.suite = suite
        self.packages = packages
        exclude = []
        kernel = "linux-image-cloud-amd64"
        diskMiB = 4096
        cpus = 1
        memoryMiB = 256
        env = [:]
        user = ""
        warmup = []
        rehearsal = []
        aliases = []
        images = []
        fileRules = []
        services = []
    }

    /// The address of what goes into the parts: a change of it means the template must be built again.
    var recipe: String {
        var texts = [
            "template-recipe", Self.builderFormat, suite, packages.sorted().joined(separator: ","), kernel,
            "\(diskMiB)", KernelModules.wanted.joined(separator: ","),
        ]
        if !exclude.isEmpty { texts += ["exclude"] + exclude }
        if let files {
            texts.append(files.digest)
            for rule in fileRules.sorted(by: { $0.path < $1.path }) {
                texts += [rule.path, rule.owner ?? "", rule.group ?? "", rule.mode.map { "\($0)" } ?? ""]
            }
        }
        return Digest.hex(of: texts)
    }

    /// Raise it when the builder makes something else of the same definition.
    static let builderFormat = "1"

    /// The address of what is applied in the running guest before it is captured.
    var runtimeDigest: String {
        let environment = env.sorted { $0.key < $1.key }.flatMap { [$0.key, $0.value] }
        let commands = warmup.flatMap { ["\($0.count)"] + $0 }
        return Digest.hex(
            of: ["template-runtime", user, "\(environment.count)"] + environment + commands
                + services.flatMap(\.digestInput))
    }
}
