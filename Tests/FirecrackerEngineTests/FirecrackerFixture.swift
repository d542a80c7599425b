import Foundation
import Glibc
import LinuxSystem
import NIOPosix
import SandboxEngine
import SandboxModel
import Testing

@testable import FirecrackerEngine

/// The real Firecracker and jailer, as scripts/install-dependencies --tests fetches them.
enum RealFirecracker {
    static let folder =
        "/" + #filePath.split(separator: "/").dropLast(3).joined(separator: "/") + "/.cache/firecracker"
    static let isHere =
        FirecrackerInstallation.variable("MARTLET_FIRECRACKER") != nil || access(folder + "/firecracker", X_OK) == 0
    static let canRun = isHere && geteuid() == 0 && access("/dev/kvm", F_OK) == 0

    /// Whether this process has CAP_SYS_RESOURCE, which not every container's root has.
    static let mayRaiseLimits: Bool = {
        let status = String(decoding: (try? AtomicFile.read("/proc/self/status")) ?? [], as: UTF8.self)
        let line = status.split(separator: "\n").first { $0.hasPrefix("CapEff:") }
        let set = line.flatMap { UInt64($0.dropFirst(7).filter { !$0.isWhitespace }, radix: 16) } ?? 0
        return set & 1 << 24 != 0
    }()

    /// Whether guests get anywhere here.
    static let hasKVM = HostAccelerator.onThisHost() == .kvmToBeProbed

    static func find() async throws -> FirecrackerInstallation {
        try await FirecrackerInstallation.find(folders: [folder])
    }
}

/// A home for one process, in a set of control groups of its own.
final class FirecrackerHome: Sendable {
    let directory: String
    let groups: ControlGroupParent
    let id = "m-\(UUID().uuidString.prefix(8))"
    let user = UInt32.random(in: 1_879_048_192..<2_000_000_000)

    init() throws {
        directory = NSTemporaryDirectory() + "martlet-fc-\(UUID().uuidString.prefix(8))"
        try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
        groups = try ControlGroupParent.make("test-\(UUID().uuidString.prefix(8))")
    }

    func order(_ installation: FirecrackerInstallation) -> FirecrackerProcess.Order {
        FirecrackerProcess.Order(
            installation: installation, id: id, user: user,
            limits: ControlGroupLimits(memoryBytes: 512 << 20, cpus: 2, tasks: 64), largestFile: 1 << 30)
    }

    func start(
        _ change: (inout FirecrackerProcess.Order) throws -> Void = { _ in }
    ) async throws -> FirecrackerProcess {
        var order = order(try await RealFirecracker.find())
        try change(&order)
        return try await FirecrackerProcess.start(
            order, in: directory, groups: groups, eventLoops: MultiThreadedEventLoopGroup.singleton)
    }

    func path(_ name: String) -> String { "\(directory)/\(name)" }

    /// Nothing of a process is left but what the test put there.
    var isEmpty: Bool {
        ((try? FileManager.default.contentsOfDirectory(atPath: directory)) ?? []).isEmpty
            && !ControlGroup(id, in: groups).exists
    }

    func remove() {
        for group in groups.groups() {
            group.kill()
            group.remove()
        }
        groups.remove()
        try? FileManager.default.removeItem(atPath: directory)
    }

    /// A file of the host, to be a disk.
    func makeFile(_ name: String, bytes: Int, mode: mode_t = 0o444) throws -> String {
        let file = try Descriptor.open(path(name), O_RDWR | O_CREAT | O_EXCL)
        guard ftruncate(file.number, bytes) == 0, fchmod(file.number, mode) == 0 else {
            throw SystemError("make", name, errno: errno)
        }
        return path(name)
    }
}

/// Runs a test in a home, and clears it away.
func withHome(_ body: (FirecrackerHome) async throws -> Void) async throws {
    let home = try FirecrackerHome()
    do {
        try await body(home)
    } catch {
        home.remove()
        throw error
    }
    home.remove()
}
