import CLinux
import Glibc
import LinuxSystem

/// The files in /etc that name the machine, each held open and kept in memory under a bind mount; the generation file,
/// `/run/martlet/generation`, by which a program notices that its machine was restored; and root's own
/// `/run/martlet/environment`, where services find the sandbox's environment, each entry with a zero byte after it.
///
/// Writing them is on the way of every create. On the disk's file system that is thousands of translated blocks of
/// an emulated guest's kernel (inodes, journal, truncation); in memory it is a copy.
package final class IdentityFiles: Sendable {
    static let directory = "/run/martlet"
    private static let generationBytes = 16
    private let hostname: NameFile
    private let machineID: NameFile
    private let hosts: NameFile
    private let generation: Descriptor
    private let environment: Descriptor

    /// Puts the files in place; /run must be mounted.
    package static func mount() throws(SystemError) -> IdentityFiles {
        mkdir(directory, 0o755)
        let generation = try Descriptor.open(directory + "/generation", O_RDWR | O_CREAT | O_EXCL, mode: 0o644)
        // Zeros: this early the kernel may not have randomness to give, and nobody has thawed the machine yet.
        try generation.writeAll([UInt8](repeating: UInt8(ascii: "0"), count: 2 * generationBytes) + [10])
        return IdentityFiles(
            hostname: try place("hostname"), machineID: try place("machine-id"), hosts: try place("hosts"),
            generation: generation,
            environment: try Descriptor.open(directory + "/environment", O_RDWR | O_CREAT | O_EXCL, mode: 0o600))
    }

    /// The same where nothing can be mounted: the files themselves, which are the sandbox's alone; /run is empty.
    static func place() throws(SystemError) -> IdentityFiles {
        mkdir(directory, 0o755)
        let generation = try Descriptor.open(directory + "/generation", O_RDWR | O_CREAT | O_EXCL, mode: 0o644)
        try generation.writeAll([UInt8](repeating: UInt8(ascii: "0"), count: 2 * generationBytes) + [10])
        // Not held open: a program may put another file in its place, and what is deleted and open gVisor cannot capture.
        return IdentityFiles(
            hostname: NameFile(path: "/etc/hostname"), machineID: NameFile(path: "/etc/machine-id"),
            hosts: NameFile(path: "/etc/hosts"), generation: generation,
            environment: try Descriptor.open(directory + "/environment", O_RDWR | O_CREAT | O_EXCL, mode: 0o600))
    }

    private init(
        hostname: NameFile, machineID: NameFile, hosts: NameFile, generation: Descriptor, environment: Descriptor
    ) {
        self.generation = generation
        self.environment = environment
        self.hostname = hostname
        self.machineID = machineID
        self.hosts = hosts
    }

    private static func place(_ name: String) throws(SystemError) -> NameFile {
        let target = "/etc/\(name)"
        let source = "\(directory)/\(name)"
        let before = try Descriptor.open(target, O_RDONLY | O_CREAT | O_NOFOLLOW, mode: 0o644).readAll(limit: 65_536)
        let file = try Descriptor.open(source, O_RDWR | O_CREAT | O_EXCL, mode: 0o644)
        try file.writeAll(before)
        try SystemError.check(clinux_mount(source, target, nil, UInt(MS_BIND), nil), "mount", target)
        return NameFile(path: target, held: file)
    }

    /// Gives the files a new content.
    func write(hostname name: String, machineID id: String) throws(SystemError) {
        try overwrite(machineID.opened(), Array((id + "\n").utf8))
        try overwrite(hostname.opened(), Array((name + "\n").utf8))
        let file = try hosts.opened()
        let old = try read(file)
        let new = HostsFile.naming(name, in: old)
        if new != old { try overwrite(file, new) }
    }

    /// Gives the file of the environment a new content.
    func write(environment entries: [String]) throws(SystemError) {
        try overwrite(environment, entries.flatMap { Array($0.utf8) + [0] })
    }

    /// Writes a value that no machine, restored from the same capture or not, has or had.
    func renewGeneration() throws(SystemError) {
        var random = [UInt8](repeating: 0, count: IdentityFiles.generationBytes)
        try SystemError.check(clinux_getrandom(&random, random.count), "getrandom")
        try overwrite(generation, IdentityFiles.hexadecimal(random) + [10])
    }

    static func hexadecimal(_ bytes: [UInt8]) -> [UInt8] {
        var digits: [UInt8] = []
        for byte in bytes {
            for half in [byte >> 4, byte & 15] { digits.append(half < 10 ? 48 + half : 87 + half) }
        }
        return digits
    }

    private func read(_ file: Descriptor) throws(SystemError) -> [UInt8] {
        var info = stat()
        let size = fstat(file.number, &info) == 0 ? min(Int(info.st_size), 65_536) : 0
        var failure = 0
        let bytes = [UInt8](unsafeUninitializedCapacity: size) { buffer, filled in
            let got = clinux_pread(file.number, buffer.baseAddress, size, 0)
            filled = max(0, got)
            failure = min(0, got)
        }
        try SystemError.check(failure, "read", "/etc/hosts")
        return bytes
    }

    private func overwrite(_ file: Descriptor, _ bytes: [UInt8]) throws(SystemError) {
        var done = 0
        while done < bytes.count {
            let count = bytes.withUnsafeBytes { buffer in
                clinux_pwrite(file.number, buffer.baseAddress! + done, buffer.count - done, off_t(done))
            }
            done += try SystemError.check(count, "write", "an identity file")
        }
        var info = stat()
        guard fstat(file.number, &info) == 0, info.st_size != off_t(bytes.count) else { return }
        guard ftruncate(file.number, off_t(bytes.count)) == 0 else {
            throw SystemError("truncate", "an identity file", errno: errno)
        }
    }
}

/// A file that names the machine.
private struct NameFile: Sendable {
    let path: String
    /// Where it is held open.
    var held: Descriptor?

    func opened() throws(SystemError) -> Descriptor {
        if let held { return held }
        return try Descriptor.open(path, O_RDWR | O_CREAT | O_NOFOLLOW, mode: 0o644)
    }
}

/// The one line of /etc/hosts that gives the machine's own name an address.
enum HostsFile {
    private static let address = "127.0.1.1"

    /// `content` with that line put in, or put right.
    ///
    /// A plain loop over bytes: the first thaw after a restore runs code that is translated for the first time, and
    /// pays for every library function it goes through.
    static func naming(_ hostname: String, in content: [UInt8]) -> [UInt8] {
        let start = Array(address.utf8)
        var result: [UInt8] = []
        result.reserveCapacity(content.count + hostname.utf8.count + 16)
        var isNamed = false
        var position = 0
        while position < content.count {
            var end = position
            while end < content.count, content[end] != newline { end += 1 }
            if isOwn(content, position, end, start) {
                if !isNamed { appendLine(start, hostname, to: &result) }
                isNamed = true
            } else {
                for index in position..<end { result.append(content[index]) }
                result.append(newline)
            }
            position = end + 1
        }
        if !isNamed { appendLine(start, hostname, to: &result) }
        return result
    }

    private static let newline: UInt8 = 10

    private static func isOwn(_ content: [UInt8], _ position: Int, _ end: Int, _ start: [UInt8]) -> Bool {
        guard end - position > start.count else { return false }
        for index in 0..<start.count where content[position + index] != start[index] { return false }
        let next = content[position + start.count]
        return next == 9 || next == 32
    }

    private static func appendLine(_ start: [UInt8], _ hostname: String, to result: inout [UInt8]) {
        result.append(contentsOf: start)
        result.append(9)
        result.append(contentsOf: hostname.utf8)
        result.append(newline)
    }
}
