import Glibc
import LinuxSystem
import SandboxModel
import Subprocess
import SystemPackage

/// Firecracker and its jailer, found on this host.
package struct FirecrackerInstallation: Sendable, Equatable {
    package var program: String
    package var jailer: String
    /// Of both; they belong together.
    package var version: String

    /// Older ones cannot lead the card of a loaded snapshot to another tap.
    static let oldest = (1, 12)

    /// Looks in `MARTLET_FIRECRACKER` and `MARTLET_FIRECRACKER_JAILER`, then in `folders`, then in PATH.
    ///
    /// - Parameter folders: of Martlet's own installation.
    /// - Throws: `failed_precondition` saying what is missing or too old, and how to mend it.
    package static func find(
        folders: [String] = [], environment: (String) -> String? = FirecrackerInstallation.variable
    ) async throws(MartletError) -> FirecrackerInstallation {
        let path = environment("PATH") ?? "/usr/local/bin:/usr/bin:/bin"
        let places = folders + path.split(separator: ":").map(String.init)
        func locate(_ name: String, _ variable: String) throws(MartletError) -> String {
            if let given = environment(variable) {
                guard given.hasPrefix("/"), access(given, X_OK) == 0 else {
                    throw MartletError(
                        .failedPrecondition, "firecracker: \(variable): \(given) is no absolute path of a program")
                }
                return given
            }
            guard let found = places.first(where: { access("\($0)/\(name)", X_OK) == 0 }) else {
                throw MartletError(
                    .failedPrecondition,
                    "firecracker: \(name) is not installed: put it on the PATH, or say where it is in \(variable)")
            }
            return "\(found)/\(name)"
        }
        let program = try locate("firecracker", "MARTLET_FIRECRACKER")
        let jailer = try locate("jailer", "MARTLET_FIRECRACKER_JAILER")
        let (one, other) = (try await version(of: program), try await version(of: jailer))
        guard one.text == other.text else {
            throw MartletError(
                .failedPrecondition,
                "firecracker: \(program) is version \(one.text) and \(jailer) is \(other.text): install both of one release"
            )
        }
        guard one.numbers >= oldest else {
            throw MartletError(
                .failedPrecondition,
                "firecracker: version \(one.text) is too old: \(oldest.0).\(oldest.1) or newer is needed")
        }
        return FirecrackerInstallation(program: program, jailer: jailer, version: one.text)
    }

    /// A variable of this process.
    package static func variable(_ name: String) -> String? { getenv(name).map { String(cString: $0) } }

    private static func version(
        of program: String
    ) async throws(MartletError) -> (text: String, numbers: (Int, Int)) {
        let text: String
        do {
            text = try await run(
                .path(FilePath(program)), arguments: ["--version"], output: .string(limit: 4096), error: .discarded
            ).standardOutput
        } catch {
            throw MartletError(.failedPrecondition, "firecracker: \(program) does not run: \(error)")
        }
        guard let version = parseVersion(text) else {
            throw MartletError(.failedPrecondition, "firecracker: \(program) does not tell its version")
        }
        return version
    }

    /// `Firecracker v1.12.1` or `Jailer v1.12.1`, in the first line.
    static func parseVersion(_ text: String) -> (text: String, numbers: (Int, Int))? {
        guard let line = text.split(separator: "\n").first,
            let word = line.split(separator: " ").first(where: { $0.hasPrefix("v") })
        else { return nil }
        let parts = word.dropFirst().split(separator: ".")
        let numbers = parts.compactMap { part in Int(part.prefix { $0.isNumber }) }
        guard parts.count >= 2, numbers.count == parts.count else { return nil }
        return (String(word.dropFirst()), (numbers[0], numbers[1]))
    }
}
