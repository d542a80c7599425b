import Glibc
import LinuxSystem
import MartletAPI
import MartletClient
import SandboxModel

/// Copies from this machine into a sandbox.
struct Uploader: Sendable {
    let client: MartletClient
    let sandbox: String
    let progress: ProgressLine

    /// Copies standard input into a file.
    func uploadInput(to path: String) async throws {
        progress.begin(path, total: nil)
        let input = Descriptor(owning: dup(0))
        try await client.upload(sandbox, path, HostFileReader(descriptor: input, progress: progress))
    }

    /// Copies a file or a tree.
    func upload(_ source: String, to target: String) async throws {
        let facts = try Self.facts(source, follows: true)
        var path = target
        if let there = try await remote(target), there.type == "directory" {
            path = CopyPlace.join(target, CopyPlace.name(of: Self.absolute(source)))
        } else if target.hasSuffix("/"), facts.st_mode & S_IFMT != S_IFDIR {
            throw MartletError(.invalidArgument, "cp: \(sandbox):\(target): there is no such directory")
        }
        try await copy(source, facts, to: path)
    }

    /// What is at a path of the sandbox, a link followed once; nil for nothing.
    private func remote(_ path: String) async throws -> FileResource? {
        do {
            let found = try await client.fileInfo(sandbox, path)
            // A link counts as what it leads to: listing works only if that is a directory.
            guard found.type == "symlink", (try? await client.listFiles(sandbox, path)) != nil else { return found }
            var directory = found
            directory.type = "directory"
            return directory
        } catch let error as MartletError where error.code == .notFound && error.details["reason"] == "not_found" {
            return nil
        }
    }

    private func copy(_ source: String, _ facts: stat, to path: String) async throws {
        switch facts.st_mode & S_IFMT {
        case S_IFREG: try await copyFile(source, to: path)
        case S_IFDIR:
            try await client.makeDirectory(
                sandbox, MakeDirectoryRequest(path: path, mode: Self.octal(facts.st_mode)))
            for name in try await Blocking.run({ try Self.entries(of: source) }) {
                let child = CopyPlace.join(source, name)
                try await copy(child, try Self.facts(child, follows: false), to: CopyPlace.join(path, name))
            }
        case S_IFLNK: try await copyLink(source, to: path)
        default: Console.note("\(Printable.line(source)): left out, being neither file, directory nor link")
        }
    }

    private func copyFile(_ source: String, to path: String) async throws {
        let file = try Descriptor.open(source, O_RDONLY)
        var facts = stat()
        guard fstat(file.number, &facts) == 0 else { throw SystemError("stat", source, errno: errno) }
        let size = facts.st_mode & S_IFMT == S_IFREG ? UInt64(max(0, facts.st_size)) : nil
        progress.begin(CopyPlace.name(of: source), total: size)
        // Files of /proc and the like say 0 and hold more; only a size that is one is promised.
        try await client.upload(
            sandbox, path, HostFileReader(descriptor: file, progress: progress), size: size == 0 ? nil : size,
            mode: facts.st_mode & 0o7777)
    }

    /// The API has no way to make a link; the sandbox's own `ln` has.
    private func copyLink(_ source: String, to path: String) async throws {
        var buffer = [UInt8](repeating: 0, count: 4096)
        let count = buffer.withUnsafeMutableBytes { bytes in
            bytes.baseAddress.map { readlink(source, $0, bytes.count) } ?? 0
        }
        guard count >= 0 else { throw SystemError("readlink", source, errno: errno) }
        guard let target = String(validating: buffer.prefix(count), as: UTF8.self) else {
            throw MartletError.invalid("path", "the link \(source) leads to a name that is not UTF-8")
        }
        let request = ExecRequest(cmd: .arguments(["ln", "-sfn", "--", target, path]), timeoutSeconds: 10)
        let result = try await client.exec(sandbox, request)
        guard result.exitCode == 0 else {
            throw MartletError(.internal, "cp: \(path): the link could not be made: \(result.stderr ?? "")")
        }
    }

    // MARK: This machine

    private static func facts(_ path: String, follows: Bool) throws(SystemError) -> stat {
        var facts = stat()
        guard (follows ? stat(path, &facts) : lstat(path, &facts)) == 0 else {
            throw SystemError("cp", path, errno: errno)
        }
        return facts
    }

    private static func absolute(_ path: String) -> String {
        guard let real = realpath(path, nil) else { return path }
        defer { free(real) }
        // The name as it was typed counts, except for `.` and `..`.
        return ["", ".", ".."].contains(CopyPlace.name(of: path)) ? String(cString: real) : path
    }

    private static func entries(of directory: String) throws -> [String] {
        guard let stream = opendir(directory) else { throw SystemError("open", directory, errno: errno) }
        defer { closedir(stream) }
        var names: [String] = []
        while let entry = readdir(stream) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) { pointer in
                pointer.withMemoryRebound(to: CChar.self, capacity: 256) { String(validatingCString: $0) }
            }
            guard let name else {
                throw MartletError.invalid("path", "\(directory) holds a name that is not UTF-8; rename it first")
            }
            if name != ".", name != ".." { names.append(name) }
        }
        return names.sorted()
    }

    static func octal(_ mode: UInt32) -> String {
        let digits = String(mode & 0o7777, radix: 8)
        return String(repeating: "0", count: max(0, 4 - digits.count)) + digits
    }
}
