import Glibc
import LinuxSystem
import MartletAPI
import MartletClient
import NIOCore
import SandboxModel

/// Copies from a sandbox to this machine.
struct Downloader: Sendable {
    let client: MartletClient
    let sandbox: String
    let progress: ProgressLine

    /// Deeper trees are refused: a hostile sandbox can tell of one without end.
    private static let maxDepth = 128

    /// Copies a file to standard output.
    func downloadToOutput(_ path: String) async throws {
        let download = try await client.download(sandbox, path)
        progress.begin(CopyPlace.name(of: path), total: download.size)
        for try await piece in download {
            try await OutputWriter.standardOutput.write(Array(piece.readableBytesView))
            progress.add(piece.readableBytes)
        }
    }

    /// Copies a file or a tree.
    func download(_ path: String, to target: String) async throws {
        let found = try await client.fileInfo(sandbox, path)
        var facts = stat()
        let isDirectory = stat(target, &facts) == 0 && facts.st_mode & S_IFMT == S_IFDIR
        let parent: String
        let name: String
        if found.type != "directory", let device = try Self.openSpecial(target) {
            try await write(path, to: device)
            return
        }
        if isDirectory {
            parent = target
            name = CopyPlace.name(of: path).isEmpty ? sandbox : CopyPlace.name(of: path)
        } else {
            guard !target.hasSuffix("/") || found.type == "directory" else {
                throw MartletError(.invalidArgument, "cp: \(target): there is no such directory")
            }
            name = CopyPlace.name(of: target)
            let slash = target.dropLast(target.hasSuffix("/") ? 1 : 0).lastIndex(of: "/")
            parent = slash.map { $0 == target.startIndex ? "/" : String(target[..<$0]) } ?? "."
        }
        let directory: HostDirectory
        do {
            directory = try HostDirectory.open(parent)
        } catch {
            throw MartletError(.invalidArgument, "cp: \(parent): \(String(cString: strerror(error.errno)))")
        }
        try await copy(found, path, into: directory, as: name, depth: 0)
    }

    /// Opens what is there but no file or directory, such as /dev/null: it is written to, not replaced.
    private static func openSpecial(_ target: String) throws(SystemError) -> Descriptor? {
        var facts = stat()
        guard stat(target, &facts) == 0, ![S_IFREG, S_IFDIR].contains(facts.st_mode & S_IFMT) else { return nil }
        return try Descriptor.open(target, O_WRONLY)
    }

    private func write(_ path: String, to descriptor: Descriptor) async throws {
        let download = try await client.download(sandbox, path)
        progress.begin(CopyPlace.name(of: path), total: download.size)
        for try await piece in download {
            try await Blocking.run { try descriptor.writeAll(Array(piece.readableBytesView)) }
            progress.add(piece.readableBytes)
        }
    }

    private func copy(
        _ found: FileResource, _ path: String, into directory: HostDirectory, as name: String, depth: Int
    ) async throws {
        let mode = UInt32(found.mode, radix: 8) ?? 0o600
        switch found.type {
        case "directory":
            guard depth < Self.maxDepth else {
                throw MartletError(.tooLarge, "cp: \(path): more than \(Self.maxDepth) directories deep")
            }
            let child = try directory.directory(name, mode: mode)
            for entry in try await client.listFiles(sandbox, path) {
                try HostDirectory.check(entry.name)
                try await copy(
                    entry, CopyPlace.join(path, entry.name), into: child, as: entry.name, depth: depth + 1)
            }
            child.setMode(mode)
        case "symlink" where depth > 0:
            try directory.link(name, to: found.target ?? "")
        case "file", "symlink":
            // A link that was named itself stands for what it leads to.
            try await copyFile(path, into: directory, as: name, mode: found.type == "file" ? mode : nil)
        default:
            Console.note("\(Printable.line(path)): left out, being neither file, directory nor link")
        }
    }

    private func copyFile(
        _ path: String, into directory: HostDirectory, as name: String, mode: UInt32?
    ) async throws {
        let download = try await client.download(sandbox, path)
        progress.begin(name, total: download.size)
        let pending = try directory.file(name)
        do {
            var count: UInt64 = 0
            for try await piece in download {
                try await Blocking.run { try pending.file.writeAll(Array(piece.readableBytesView)) }
                count += UInt64(piece.readableBytes)
                progress.add(piece.readableBytes)
            }
            if let size = download.size, size != count {
                throw MartletError(.unavailable, "cp: \(path): it ended after \(count) of \(size) bytes")
            }
        } catch {
            pending.discard()
            throw error
        }
        try pending.finish(mode: mode ?? download.mode ?? 0o644)
    }
}
