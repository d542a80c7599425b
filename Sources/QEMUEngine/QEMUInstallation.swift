import FoundationEssentials
import Glibc
import LinuxSystem
import SandboxModel
import Subprocess
import SystemPackage

/// The QEMU programs found on this host.
package struct QEMUInstallation: Sendable {
    /// The full system emulator.
    var emulator: String
    /// The small KVM-only build that some distributions ship; it starts three times as fast.
    var microvmEmulator: String?
    /// qemu-img.
    var diskTool: String
    var version: String

    /// Older ones open a memory image for writing even when it is mapped privately: a captured emulator could then
    /// change what every later sandbox starts from.
    static let oldest = (8, 2)

    /// Looks in PATH.
    ///
    /// - Throws: `failed_precondition` saying what to install.
    static func find() async throws(MartletError) -> QEMUInstallation {
        guard let emulator = which("qemu-system-x86_64") else {
            throw MartletError(
                .failedPrecondition, "qemu: qemu-system-x86_64 is not installed: run scripts/install-dependencies")
        }
        guard let diskTool = which("qemu-img") else {
            throw MartletError(.failedPrecondition, "qemu: qemu-img is not installed: run scripts/install-dependencies")
        }
        let text: String
        do {
            text = try await run(.path(FilePath(emulator)), arguments: ["--version"], output: .string(limit: 4096))
                .standardOutput
        } catch {
            throw MartletError(.failedPrecondition, "qemu: \(emulator) does not run: \(error)")
        }
        guard let version = parseVersion(text) else {
            throw MartletError(.failedPrecondition, "qemu: \(emulator) does not tell its version")
        }
        guard version.numbers >= oldest else {
            throw MartletError(
                .failedPrecondition,
                "qemu: version \(version.text) is too old, \(oldest.0).\(oldest.1) is needed: on Debian 12 install it from "
                    + "backports (scripts/install-dependencies does)")
        }
        return QEMUInstallation(
            emulator: emulator, microvmEmulator: which("qemu-system-x86_64-microvm"), diskTool: diskTool,
            version: version.text)
    }

    /// `QEMU emulator version 10.0.2 (Debian …)` to its numbers.
    package static func parseVersion(_ text: String) -> (text: String, numbers: (Int, Int))? {
        let words = text.split(whereSeparator: { $0 == " " || $0 == "\n" })
        guard let index = words.firstIndex(of: "version"), index + 1 < words.count else { return nil }
        let numbers = words[index + 1].split(separator: ".").compactMap { Int($0) }
        guard numbers.count >= 2 else { return nil }
        return (String(words[index + 1]), (numbers[0], numbers[1]))
    }

    /// The program for an accelerator.
    func program(for accelerator: Accelerator) -> String {
        accelerator == .kvm ? microvmEmulator ?? emulator : emulator
    }

    private static func which(_ name: String) -> String? {
        let path = getenv("PATH").map { String(cString: $0) } ?? "/usr/local/bin:/usr/bin:/bin"
        return path.split(separator: ":").map { "\($0)/\(name)" }.first { access($0, X_OK) == 0 }
    }
}
