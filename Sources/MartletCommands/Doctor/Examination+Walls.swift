import FirecrackerEngine
import Glibc
import Logging
import MartletAPI
import MartletClient
import NIOPosix
import SandboxEngine
import SandboxModel

extension DoctorReport.Engine {
    init(_ engine: HostResource.Engine) {
        self.init(
            name: engine.name, available: engine.available, version: engine.version, accelerator: engine.accelerator,
            level: engine.level?.rawValue, reason: engine.reason,
            capabilities: (engine.capabilities ?? []).map(\.rawValue))
    }
}

extension Examination {
    /// The engines besides QEMU: what the daemon says of them, which has tried them, else whether their programs are there.
    func otherEngines(asking isRunning: Bool) async -> [DoctorReport.Engine] {
        if isRunning, let host = try? await Session.with(starts: false, { try await $0.host() }) {
            return host.engines.filter { $0.name != "qemu" }.map(DoctorReport.Engine.init)
        }
        let firecracker = FirecrackerEngine(
            configuration: .init(directory: data.firecracker, groups: data.firecrackerGroups),
            logger: Logger(label: "martlet.doctor") { _ in SwiftLogNoOpLogHandler() },
            group: MultiThreadedEventLoopGroup.singleton)
        let report = await firecracker.inspect()
        return [
            DoctorReport.Engine(
                name: report.name, available: report.isAvailable, version: report.version,
                accelerator: report.isolation?.accelerator, level: report.isolation?.level.rawValue,
                reason: report.reason),
            engine("gvisor", program: "runsc", level: .userKernel),
            engine("bubblewrap", program: "bwrap", level: .process),
        ]
    }

    private func engine(_ name: String, program: String, level: IsolationLevel) -> DoctorReport.Engine {
        let isThere = ["/usr/bin", "/usr/local/bin"].contains { access("\($0)/\(program)", X_OK) == 0 }
        let isUsable = isThere && geteuid() == 0
        let reason =
            !isThere ? "\(program) is not installed" : isUsable ? "\(program) is installed" : "only root can use it"
        return DoctorReport.Engine(
            name: name, available: isUsable, version: nil, accelerator: nil, level: isUsable ? level.rawValue : nil,
            reason: reason)
    }

    /// Sandboxes run without these, too.
    func wallCheck(_ engine: DoctorReport.Engine) -> Check {
        let detail = engine.level.map { "level \($0): \(engine.reason)" } ?? engine.reason
        return engine.available
            ? Check(engine.name, .ok, detail)
            : Check(
                engine.name, .warning, detail + ": sandboxes of this kind cannot be made",
                fix: engine.name == "firecracker" ? nil : "run scripts/install-dependencies as root")
    }
}
