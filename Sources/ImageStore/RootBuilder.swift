import Glibc
import LinuxSystem
import SandboxModel

/// Makes the root disk of a template: a minimal Debian system in a sparse ext4 image.
package struct RootBuilder: Sendable {
    let layout: StoreLayout
    let definition: TemplateDefinition
    /// The package sources in deb822 format.
    let sources: String
    let reporter: StageReporter

    /// Builds the image and publishes it.
    ///
    /// - Returns: the address of the finished part.
    func build() async throws -> String {
        let staged = try layout.stage()
        do {
            let tool = Tool(
                purpose: "build template \(definition.name)", logPath: layout.buildLog(definition.name),
                lockPath: staged.lockPath)
            let tree = staged.path + "/tree"
            try await install(into: tree, staged: staged, tool: tool)
            try RootTree(path: tree).configure()
            if let files = definition.files {
                let rules = definition.fileRules
                try await BlockingWork.run { try RootTree(path: tree).add(files, rules) }
            }
            reporter.report("writing the disk image", fraction: 0.95)
            let image = staged.path + "/root.img"
            try await Self.makeImage(of: tree, at: image, mebibytes: definition.diskMiB, tool: tool)
            try await BlockingWork.run { try StoreFiles.remove(tree) }
            try StoreFiles.remove(staged.path + "/debian.sources")
            let digest = try await seal(staged, image: image)
            reporter.report("done", fraction: 1)
            return digest
        } catch {
            await staged.dispose()
            throw error
        }
    }

    private func install(into tree: String, staged: StagingDirectory, tool: Tool) async throws {
        let list = staged.path + "/debian.sources"
        try AtomicFile.write(Array(sources.utf8), to: list, mode: 0o644, durable: false)
        try await tool.run("mmdebstrap", Self.arguments(definition: definition, tree: tree, sources: list)) { line in
            if let (message, fraction) = Self.progress(of: line) { reporter.report(message, fraction: fraction) }
        }
    }

    /// The command line of mmdebstrap; the hook is a constant, nothing of a definition reaches a shell.
    package static func arguments(definition: TemplateDefinition, tree: String, sources: String) -> [String] {
        var arguments = ["--mode=root", "--variant=minbase", "--format=directory"]
        if !definition.packages.isEmpty { arguments.append("--include=" + definition.packages.joined(separator: ",")) }
        for option in ["Acquire::Languages \"none\"", "APT::Install-Recommends \"false\""] {
            arguments.append("--aptopt=" + option)
        }
        for path in ["doc", "man", "locale", "info", "lintian"] {
            arguments.append("--dpkgopt=path-exclude=/usr/share/\(path)/*")
        }
        arguments.append("--dpkgopt=path-include=/usr/share/doc/*/copyright")
        arguments += definition.exclude.map { "--dpkgopt=path-exclude=\($0)" }
        arguments.append("--customize-hook=chroot \"$1\" useradd --create-home --uid 1000 --shell /bin/bash user")
        return arguments + [definition.suite, tree, sources]
    }

    /// What a line of mmdebstrap means for somebody who waits.
    package static func progress(of line: String) -> (message: String, fraction: Double)? {
        guard line.hasPrefix("I: ") else { return nil }
        let message = line.dropFirst(3).prefix { $0 != "." }
        let steps: [(prefix: String, fraction: Double)] = [
            ("running apt-get update", 0.05), ("downloading packages", 0.15), ("extracting archives", 0.3),
            ("installing essential", 0.4), ("installing remaining", 0.5), ("running --customize-hook", 0.88),
            ("cleaning", 0.9),
        ]
        guard let step = steps.first(where: { message.hasPrefix($0.prefix) }) else { return nil }
        return (message.hasPrefix("running --") ? "adding the user" : String(message), step.fraction)
    }

    /// Writes a directory into a sparse ext4 image of the given size.
    ///
    /// Everything a guest would finish in the background at its first mount (inode tables, journal) is done here, and
    /// there is room in the tables to grow to 64 GiB while mounted.
    package static func makeImage(of tree: String, at image: String, mebibytes: Int, tool: Tool) async throws {
        let seed = "6d617274-6c65-4000-8000-000000000001"
        try await tool.run(
            "mke2fs",
            [
                "-q", "-F", "-t", "ext4", "-b", "4096", "-m", "0", "-L", "martlet-root", "-U", seed, "-J", "size=16",
                "-E", "hash_seed=\(seed),lazy_itable_init=0,lazy_journal_init=0,resize=16777216,root_owner=0:0",
                "-d", tree, image, "\(mebibytes)M",
            ])
        try await tool.run("fallocate", ["--dig-holes", image])
    }

    private func seal(_ staged: StagingDirectory, image: String) async throws -> String {
        let recipe = definition.recipe
        let name = definition.name
        let layout = layout
        return try await BlockingWork.run {
            try StoreFiles.setMode(image, 0o444)
            try StoreFiles.synchronize(image)
            let content = try Digest.hex(ofSparseFile: image)
            let size = FileStamp(path: image)?.size ?? 0
            let manifest = PartManifest(
                kind: "root", files: ["root.img": .init(size: size, sha256: nil)],
                details: ["recipe": recipe, "template": name, "content": content])
            try manifest.seal(to: staged.path + "/" + PartManifest.fileName)
            let digest = Digest.hex(of: ["root", recipe, content])
            try layout.publish(staged, as: .roots, digest)
            return digest
        }
    }
}
