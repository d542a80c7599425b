import Glibc
import LinuxSystem
import SandboxModel
import Subprocess
import SystemPackage

/// Empty file systems by size, of which each sandbox gets a copy for what it writes: a few hundred kilobytes, whatever
/// their size is.
actor BlankDisks {
    private let directory: String
    private var known: Set<UInt64> = []

    init(directory: String) { self.directory = directory }

    /// The path of an empty ext4 image of so many bytes.
    func path(bytes: UInt64) async throws -> String {
        let path = "\(directory)/blank-\(bytes >> 20).ext4"
        if known.contains(bytes) || access(path, F_OK) == 0 {
            known.insert(bytes)
            return path
        }
        mkdir(directory, 0o700)
        let aside = "\(path).\(RandomID.make(prefix: "b"))"
        defer { unlink(aside) }
        // Without a journal: after a power cut nothing of a sandbox is left anyway. With room to grow while mounted.
        let outcome = try await run(
            .path(FilePath(["/usr/sbin/mke2fs", "/sbin/mke2fs"].first { access($0, X_OK) == 0 } ?? "mke2fs")),
            arguments: [
                "-q", "-F", "-t", "ext4", "-b", "4096", "-m", "0", "-O", "^has_journal",
                "-E", "lazy_itable_init=1,resize=16777216,root_owner=0:0", aside, "\(bytes >> 20)M",
            ],
            output: .discarded, error: .string(limit: 4096))
        guard outcome.terminationStatus.isSuccess else {
            throw MartletError(.internal, "make disk: \(path): mke2fs: \(outcome.standardError)")
        }
        try SystemError.check(rename(aside, path) == 0 ? 0 : -errno, "rename", path)
        known.insert(bytes)
        return path
    }
}
