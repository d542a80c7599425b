/// The command line of Firecracker's jailer.
///
/// Network namespace, process namespace and control group are not on it: the daemon holds them as descriptors, and the
/// jailer is born in them.
struct JailerArguments: Equatable {
    var jailer: String
    var program: String
    /// Of the machine; 64 letters, digits and hyphens at most.
    var id: String
    var user: UInt32
    var base: String
    /// The largest file the process may write, in bytes.
    var largestFile: UInt64
    var openFiles = 1024

    /// What Firecracker itself is told, as seen from its root.
    enum Inside {
        static let socket = "api.sock"
        static let log = "firecracker.log"
    }

    /// Whether the jailer takes such an id.
    static func isID(_ text: String) -> Bool {
        (1...64).contains(text.utf8.count)
            && text.utf8.allSatisfy { byte in
                (48...57).contains(byte) || (65...90).contains(byte) || (97...122).contains(byte) || byte == 45
            }
    }

    /// The root it makes.
    var root: String { "\(base)/\(program.split(separator: "/").last ?? "")/\(id)/root" }

    /// The whole argument vector.
    var vector: [String] {
        [
            jailer, "--id", id, "--exec-file", program, "--uid", "\(user)", "--gid", "\(user)", "--chroot-base-dir",
            base,
            "--resource-limit", "no-file=\(openFiles)", "--resource-limit", "fsize=\(largestFile)",
            "--", "--api-sock", "/\(Inside.socket)", "--log-path", "/\(Inside.log)", "--level", "Warn",
        ]
    }
}
