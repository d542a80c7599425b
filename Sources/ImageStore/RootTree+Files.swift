import Glibc
import LinuxSystem
import SandboxModel

extension RootTree {
    /// Copies a template's own files into the tree.
    ///
    /// Nothing is written through a symbolic link of the tree: it may point out of it.
    package func add(_ files: TemplateFiles, _ rules: [TemplateFileRule]) throws {
        let accounts = RootAccounts(tree: path)
        let byPath = Dictionary(rules.map { ($0.path, $0) }, uniquingKeysWith: { $1 })
        for entry in files.entries {
            let target = path + entry.path
            try checkPlace(entry)
            switch entry.kind {
            case .directory:
                if FileStamp(path: target) == nil { try StoreFiles.makeDirectory(target, mode: 0o755) }
            case .link(let destination):
                try StoreFiles.remove(target)
                guard symlink(destination, target) == 0 else { throw SystemError("symlink", target, errno: errno) }
            case .file:
                try StoreFiles.remove(target)
                let source = try Descriptor.open(files.folder + entry.path, O_RDONLY)
                let copy = try Descriptor.open(target, O_WRONLY | O_CREAT | O_EXCL, mode: 0o600)
                while true {
                    let piece = try source.read(upTo: 1 << 20)
                    if piece.isEmpty { break }
                    try copy.writeAll(piece)
                }
            }
            try setOwnerAndMode(entry, byPath[entry.path], accounts)
        }
    }

    /// Refuses an entry that would lie behind a link, or take the place of something of another kind.
    private func checkPlace(_ entry: TemplateFiles.Entry) throws {
        let names = entry.path.split(separator: "/")
        var place = path
        for (index, name) in names.enumerated() {
            place += "/" + name
            guard let stamp = FileStamp(path: place) else { return }
            let isLast = index == names.count - 1
            if !isLast || entry.kind == .directory {
                guard stamp.isDirectory else {
                    throw problem(entry, "/\(names[...index].joined(separator: "/")) is no directory in the root disk")
                }
            } else if stamp.isDirectory {
                throw problem(entry, "it is a directory in the root disk")
            }
        }
    }

    private func setOwnerAndMode(
        _ entry: TemplateFiles.Entry, _ rule: TemplateFileRule?, _ accounts: RootAccounts
    ) throws {
        let target = path + entry.path
        var owner: (uid: UInt32, gid: UInt32) = (0, 0)
        if let name = rule?.owner {
            guard let found = accounts.user(name) else { throw problem(entry, "there is no user '\(name)'") }
            owner = found
        }
        if let name = rule?.group {
            guard let found = accounts.group(name) else { throw problem(entry, "there is no group '\(name)'") }
            owner.gid = found
        }
        guard lchown(target, owner.uid, owner.gid) == 0 else { throw SystemError("chown", target, errno: errno) }
        switch entry.kind {
        case .link: break
        case .directory: try StoreFiles.setMode(target, mode_t(rule?.mode ?? 0o755))
        case .file(let isExecutable):
            try StoreFiles.setMode(target, mode_t(rule?.mode ?? (isExecutable ? 0o755 : 0o644)))
        }
    }

    private func problem(_ entry: TemplateFiles.Entry, _ why: String) -> MartletError {
        MartletError(.failedPrecondition, "copy template file: \(entry.path): \(why)")
    }
}

/// Names of users and groups in a root tree; the host's own mean nothing there.
private struct RootAccounts {
    let tree: String

    func user(_ name: String) -> (uid: UInt32, gid: UInt32)? {
        guard let fields = entry("etc/passwd", name), fields.count >= 4, let uid = UInt32(fields[2]),
            let gid = UInt32(fields[3])
        else { return nil }
        return (uid, gid)
    }

    func group(_ name: String) -> UInt32? {
        guard let fields = entry("etc/group", name), fields.count >= 3 else { return nil }
        return UInt32(fields[2])
    }

    private func entry(_ file: String, _ name: String) -> [Substring]? {
        guard let bytes = try? Descriptor.open("\(tree)/\(file)", O_RDONLY | O_NOFOLLOW).readAll(limit: 1 << 20)
        else { return nil }
        for line in String(decoding: bytes, as: UTF8.self).split(whereSeparator: \.isNewline) {
            let fields = line.split(separator: ":", omittingEmptySubsequences: false)
            if fields.first?.elementsEqual(name) == true { return fields }
        }
        return nil
    }
}
