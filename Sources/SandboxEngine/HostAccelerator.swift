import FoundationEssentials
import Glibc
import LinuxSystem
import SandboxModel

/// Whether this host's KVM can run a guest, and how that is known.
///
/// `/dev/kvm` existing and a virtual machine being made through it prove nothing: para-virtual hosts offer both and no
/// stock kernel boots on them. So: the processor must have the extensions, and a probe boot must reach the agent. What to
/// do without is for each engine to say.
package struct HostAccelerator: Sendable {
    package enum Candidate: Sendable, Equatable {
        case kvmToBeProbed
        case none(reason: String)
    }

    /// A probe's outcome, remembered per host, kernel and version of the monitor.
    package struct Verdict: Codable, Sendable {
        package var kernel: String
        package var monitor: String
        package var processor: String
        package var works: Bool
        package var reason: String

        /// - Parameter monitor: the version of what booted the guest.
        package init(monitor: String, works: Bool, reason: String) {
            kernel = HostKernel.release
            self.monitor = monitor
            processor = HostAccelerator.processorLine("model name")
            self.works = works
            self.reason = reason
        }
    }

    /// What the processor and the device say, before any probe.
    package static func candidate(processorFlags: String, canOpenDevice: Bool, deviceExists: Bool) -> Candidate {
        let flags = processorFlags.split(separator: " ")
        guard flags.contains("vmx") || flags.contains("svm") else {
            return .none(
                reason: deviceExists
                    ? "/dev/kvm exists, but the processor shows no virtualisation extension (vmx or svm), and guests do not "
                        + "boot on such hosts"
                    : "the processor shows no virtualisation extension (vmx or svm)")
        }
        guard deviceExists else {
            return .none(
                reason: "there is no /dev/kvm: load the kvm module (modprobe kvm_intel or kvm_amd)")
        }
        guard canOpenDevice else {
            return .none(reason: "/dev/kvm cannot be opened: add this user to the group kvm")
        }
        return .kvmToBeProbed
    }

    /// The candidate of the host we are on.
    package static func onThisHost() -> Candidate {
        let exists = access("/dev/kvm", F_OK) == 0
        return candidate(
            processorFlags: processorLine("flags"), canOpenDevice: access("/dev/kvm", R_OK | W_OK) == 0,
            deviceExists: exists)
    }

    /// A line of /proc/cpuinfo by its name, of the first processor.
    package static func processorLine(_ name: String) -> String {
        let bytes = (try? AtomicFile.read("/proc/cpuinfo")) ?? []
        for line in String(decoding: bytes, as: UTF8.self).split(separator: "\n") where line.hasPrefix(name) {
            return line.firstIndex(of: ":").map { String(line[line.index(after: $0)...]) } ?? ""
        }
        return ""
    }

    /// The verdict of an earlier probe under the same circumstances.
    package static func remembered(in path: String, monitor: String) -> Verdict? {
        guard let bytes = try? AtomicFile.read(path),
            let verdict = try? JSONDecoder().decode(Verdict.self, from: Data(bytes)),
            verdict.kernel == HostKernel.release, verdict.monitor == monitor,
            verdict.processor == processorLine("model name")
        else { return nil }
        return verdict
    }

    /// Writes a verdict down.
    package static func remember(_ verdict: Verdict, in path: String) throws {
        try AtomicFile.write(Array(JSONEncoder().encode(verdict)), to: path)
    }
}
