import Glibc
import LinuxSystem
import SandboxModel

/// An unpacked kernel package.
struct KernelTree: Sendable {
    let tree: String
    let package: KernelPackage
    /// For example `6.1.0-40-cloud-amd64`.
    let version: String
    private let image: String
    private let modules: String

    init(tree: String, package: KernelPackage) throws(MartletError) {
        guard let image = StoreFiles.list(tree + "/boot").first(where: { $0.hasPrefix("vmlinuz-") }) else {
            throw MartletError(.internal, "unpack kernel: \(package.name): it has no boot/vmlinuz")
        }
        self.tree = tree
        self.package = package
        self.image = "\(tree)/boot/\(image)"
        version = String(image.dropFirst("vmlinuz-".count))
        let places = ["\(tree)/lib/modules/\(version)", "\(tree)/usr/lib/modules/\(version)"]
        guard let modules = places.first(where: StoreFiles.isDirectory) else {
            throw MartletError(.internal, "unpack kernel: \(package.name): it has no modules")
        }
        self.modules = modules
    }

    /// Paths of modules that are compressed (Debian 13 does that); what a module depends on can be read only after.
    func compressedModules() async throws -> [String] {
        try await BlockingWork.run { moduleFiles().values.filter { $0.hasSuffix(".xz") }.sorted() }
    }

    /// Copies image and modules into the staging directory and publishes it; blocks the thread.
    func publish(_ staged: StagingDirectory, layout: StoreLayout) throws -> String {
        let files = moduleFiles()
        let builtin = try AtomicFile.read(modules + "/modules.builtin")
        func order(_ wanted: [String]) throws -> Result<[String], KernelModules.MissingModule> {
            try KernelModules.order(
                wanted, builtin: KernelModules.builtin(String(decoding: builtin, as: UTF8.self))
            ) { name in
                try files[name].map { KernelModules.dependencies(ofModule: try AtomicFile.read($0)) }
            }
        }
        let names = try order(KernelModules.wanted).mapError {
            MartletError(.internal, "unpack kernel: \(package.name): module \($0.name) is missing")
        }.get()
        // Not every kernel has them, and only guests reached by vsock miss them.
        let more = try? order(KernelModules.wanted + KernelModules.wantedForVsock).get().filter { !names.contains($0) }
        var contents: [(name: String, bytes: [UInt8])] = [("vmlinuz", try AtomicFile.read(image, limit: 256 << 20))]
        for (folder, names) in [("modules", names), ("vsock", more)] {
            guard let names else { continue }
            try StoreFiles.makeDirectory("\(staged.path)/\(folder)")
            for name in names {
                guard let path = files[name] else { continue }
                contents.append(("\(folder)/\(name).ko", try AtomicFile.read(path)))
            }
            contents.append(("\(folder)/order", Array(names.map { $0 + ".ko\n" }.joined().utf8)))
        }
        var listed: [String: PartManifest.File] = [:]
        for (name, bytes) in contents {
            try AtomicFile.write(bytes, to: "\(staged.path)/\(name)", mode: 0o444)
            listed[name] = .init(size: Int64(bytes.count), sha256: Digest.hex(of: bytes))
        }
        let digest = Digest.hex(
            of: ["kernel-1", version] + listed.sorted { $0.key < $1.key }.flatMap { [$0.key, $0.value.sha256 ?? ""] })
        // Checked by size at each use, like all large files; the address itself holds the checksums.
        let sizes = listed.mapValues { PartManifest.File(size: $0.size, sha256: nil) }
        try PartManifest(
            kind: "kernel", files: sizes,
            details: [
                "version": version, "package": package.name, "packageVersion": package.version,
                "requested": package.requested, "suite": package.suite, "template": package.template,
                "modules": KernelModules.wanted.joined(separator: ","),
            ]
        ).seal(to: staged.path + "/" + PartManifest.fileName)
        try layout.publish(staged, as: .kernels, digest)
        return digest
    }

    /// Every module of the package: name to path.
    private func moduleFiles() -> [String: String] {
        var result: [String: String] = [:]
        var folders = [modules + "/kernel"]
        while let folder = folders.popLast() {
            for name in StoreFiles.list(folder) {
                let path = folder + "/" + name
                if let module = KernelModules.name(ofFile: name) {
                    result[module] = path
                } else if FileStamp(path: path)?.isDirectory == true {
                    folders.append(path)
                }
            }
        }
        return result
    }
}
