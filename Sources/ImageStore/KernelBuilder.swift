import LinuxSystem
import SandboxModel

/// Fetches Debian's kernel and takes out of it what a guest needs.
package struct KernelBuilder: Sendable {
    let layout: StoreLayout
    let definition: TemplateDefinition
    let sources: String
    let reporter: StageReporter

    /// Downloads, unpacks and publishes the kernel.
    ///
    /// - Returns: the address of the finished part.
    func build() async throws -> String {
        let staged = try layout.stage()
        let scratch = try layout.stage()
        do {
            let digest = try await build(in: staged, scratch: scratch)
            await scratch.dispose()
            return digest
        } catch {
            await scratch.dispose()
            await staged.dispose()
            throw error
        }
    }

    private func build(in staged: StagingDirectory, scratch: StagingDirectory) async throws -> String {
        let tool = Tool(
            purpose: "build template \(definition.name)", logPath: layout.buildLog(definition.name),
            lockPath: scratch.lockPath)
        let package = try await download(scratch: scratch.path, tool: tool)
        reporter.report("unpacking \(package.name) \(package.version)", fraction: 0.7)
        let tree = scratch.path + "/tree"
        try await tool.run("dpkg-deb", ["--extract", package.file, tree])
        let kernel = try KernelTree(tree: tree, package: package)
        reporter.report("collecting modules", fraction: 0.9)
        let compressed = try await kernel.compressedModules()
        if !compressed.isEmpty { try await tool.run("xz", ["--decompress", "--threads=0"] + compressed) }
        let digest = try await BlockingWork.run { try kernel.publish(staged, layout: layout) }
        reporter.report("done: \(kernel.version)", fraction: 1)
        return digest
    }

    /// A private apt with the sources of the release only: neither the state of this machine's apt nor its pins
    /// change the outcome, and nothing of it is changed.
    private func download(scratch: String, tool: Tool) async throws -> KernelPackage {
        let apt = scratch + "/apt"
        for folder in ["lists/partial", "cache/archives/partial", "download"] {
            try StoreFiles.makeDirectory("\(apt)/\(folder)", mode: 0o755)
        }
        try AtomicFile.write([], to: apt + "/status", mode: 0o644, durable: false)
        try AtomicFile.write(Array(sources.utf8), to: apt + "/debian.sources", mode: 0o644, durable: false)
        let options = Self.aptOptions(apt)
        reporter.report("running apt-get update", fraction: 0.1)
        try await tool.run("apt-get", options + ["update"])
        func show(_ name: String) async throws -> [String] {
            try await tool.lines("apt-cache", options + ["show", "--no-all-versions", name])
        }
        var name = definition.kernel
        var fields = try await show(name)
        if let real = Self.kernelBehind(meta: fields) {
            name = real
            fields = try await show(real)
        }
        let version = Self.field("Version", in: fields) ?? ""
        reporter.report("downloading \(name) \(version)", fraction: 0.4)
        try await tool.run("apt-get", options + ["download", name], directory: apt + "/download")
        guard let file = StoreFiles.list(apt + "/download").first(where: { $0.hasSuffix(".deb") }) else {
            throw MartletError(.internal, "\(tool.purpose): apt-get downloaded no file for \(name)")
        }
        return KernelPackage(
            name: name, version: version, file: "\(apt)/download/\(file)", requested: definition.kernel,
            suite: definition.suite, template: definition.name)
    }

    static func aptOptions(_ directory: String) -> [String] {
        [
            "Dir::State::lists=\(directory)/lists", "Dir::State::status=\(directory)/status",
            "Dir::Cache=\(directory)/cache", "Dir::Etc::sourcelist=\(directory)/debian.sources",
            "Dir::Etc::sourceparts=/dev/null", "Dir::Etc::preferences=/dev/null",
            "Dir::Etc::preferencesparts=/dev/null", "APT::Architectures=amd64", "Acquire::Languages=none",
            // The directories are root's alone, so apt's own download user could not write there.
            "APT::Sandbox::User=root", "APT::Get::List-Cleanup=false",
        ].flatMap { ["-o", $0] }
    }

    /// The kernel package a meta package stands for: the first `linux-image-…` it depends on.
    package static func kernelBehind(meta fields: [String]) -> String? {
        field("Depends", in: fields)?.split(separator: ",").lazy
            .compactMap { $0.split(separator: " ").first.map(String.init) }
            .first { $0.hasPrefix("linux-image-") }
    }

    static func field(_ name: String, in lines: [String]) -> String? {
        lines.first { $0.hasPrefix(name + ": ") }.map { String($0.dropFirst(name.utf8.count + 2)) }
    }
}

/// A downloaded kernel package.
struct KernelPackage: Sendable {
    var name: String
    var version: String
    var file: String
    /// What the definition asked for, where from, and on whose behalf.
    var requested: String
    var suite: String
    var template: String
}
