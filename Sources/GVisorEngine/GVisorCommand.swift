import FoundationEssentials
import Glibc
import LinuxSystem
import SandboxModel
import Subprocess
import SystemPackage

/// The ways to call `runsc` for one container.
struct GVisorCommand: Sendable {
    let program: String
    let platform: String
    /// Where it keeps what it knows of the container, and what it says.
    let state: String
    var hasNetwork = false

    /// The container's name; there is one for each state.
    static let container = "sandbox"
    /// Nothing that it is told to do may take longer.
    private static let patience = Duration.seconds(120)
    /// What of its words is read: objects that it could not save are described at length.
    private static let quoted = 4096

    /// The whole argument vector for a verb, its options and what comes after them.
    func arguments(_ words: [String]) -> [String] {
        [
            "runsc", "--root", state, "--platform", platform, "--network", hasNetwork ? "sandbox" : "none",
            "--ignore-cgroups", "--overlay2", "none", "--host-uds", "none",
        ] + words
    }

    /// Calls it for the container and waits for its end.
    ///
    /// - Parameter operands: what follows the container's name.
    /// - Returns: what it said when it failed; nil when it did not.
    func run(_ verb: String, _ options: [String] = [], _ operands: [String] = []) async throws -> String? {
        let path = "\(state)/\(verb).err"
        let log = try Descriptor.open(path, O_RDWR | O_CREAT | O_TRUNC)
        let words = Array(arguments([verb] + options + [GVisorCommand.container] + operands).dropFirst())
        let program = program
        let status = try await withThrowingTaskGroup(of: TerminationStatus?.self) { group in
            group.addTask {
                try await Subprocess.run(
                    .path(FilePath(program)), arguments: Arguments(words), output: .discarded,
                    error: .fileDescriptor(FileDescriptor(rawValue: log.number), closeAfterSpawningProcess: false)
                ).terminationStatus
            }
            group.addTask {
                try await Task.sleep(for: GVisorCommand.patience)
                return nil
            }
            defer { group.cancelAll() }
            return try await group.next() ?? nil
        }
        if status?.isSuccess == true { return nil }
        guard status != nil else { return "runsc \(verb): no end after \(GVisorCommand.patience)" }
        return GVisorCommand.reason(String(decoding: try log.read(upTo: GVisorCommand.quoted, at: 0), as: UTF8.self))
    }

    /// What of its words says why: the first line, without whose call it was that failed.
    static func reason(_ words: String) -> String {
        let line = words.split(separator: "\n").first.map(String.init) ?? "it does not say why"
        let marks = ["encoding error: ", "decoding error: ", "container \"\(container)\": "]
        let start = marks.compactMap { line.firstRange(of: $0)?.upperBound }.max() ?? line.startIndex
        var reason = String(line[start...].prefix(300))
        while let last = reason.last, last == ":" || last == " " { reason.removeLast() }
        return reason
    }
}
