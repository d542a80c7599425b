import CLinux
import Glibc
import ImageStore
import LinuxSystem
import Logging
import MartletAPI
import MartletClient
import NIOPosix
import QEMUEngine
import SandboxEngine
import SandboxModel

/// Looks at this machine without changing it.
struct Examination: Sendable {
    typealias Check = DoctorReport.Check

    let installation: Installation
    let data: DataDirectory
    let environment: [String: String]

    /// Everything there is to check.
    func report() async -> DoctorReport {
        let isRunning = DaemonLauncher(data: data, environment: environment).isListening()
        let daemon = isRunning ? DaemonFile.read(data) : nil
        let (engine, engineCheck) = await engine(asking: isRunning)
        let others = await otherEngines(asking: isRunning)
        let templates = await templates(asking: isRunning)
        let canBuild = templates.contains { $0.state == "ready" || $0.state == "stale" }
        var checks = [system, user, engineCheck, program("qemu-img", package: "qemu-utils", isRequired: true)]
        checks.append(acceleration(engine))
        checks += others.map(wallCheck)
        checks += [await jail, agent, templateCheck(templates)]
        checks.append(program("mmdebstrap", package: "mmdebstrap", isRequired: !canBuild))
        checks.append(program("mke2fs", package: "e2fsprogs", isRequired: !canBuild))
        for (name, package) in [("tar", "tar"), ("zstd", "zstd")] {
            checks.append(program(name, package: package, isRequired: false, purpose: "to export and import snapshots"))
        }
        checks += await networkChecks
        checks += [writable, space, memory, daemonCheck(isRunning, daemon)]
        return DoctorReport(
            engine: engine, engines: (engine.map { [$0] } ?? []) + others, checks: checks, daemonRunning: isRunning,
            daemonURL: daemon?.url, dataDirectory: data.path,
            log: data.daemonLog)
    }

    // MARK: The system

    private var system: Check {
        var name = utsname()
        guard uname(&name) == 0 else { return Check("system", .warning, "the kernel does not tell its name") }
        let release = Self.text(&name.release)
        let machine = Self.text(&name.machine)
        guard machine == "x86_64" else {
            return Check("system", .missing, "Linux \(release) on \(machine)", fix: "sandboxes run on x86_64 so far")
        }
        return Check("system", .ok, "Linux \(release), \(machine)")
    }

    private static func text<Field>(_ field: inout Field) -> String {
        withUnsafeBytes(of: &field) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
    }

    private var user: Check {
        geteuid() == 0
            ? Check("user", .ok, "root")
            : Check(
                "user", .warning, "user \(geteuid()), not root: sandboxes run, but templates may not build",
                fix: "build templates as root, or allow this user to make user namespaces")
    }

    // MARK: The engine

    private func engine(asking isRunning: Bool) async -> (DoctorReport.Engine?, Check) {
        if isRunning, let found = await daemonEngine() {
            return (found, Check("qemu", .ok, "version \(found.version ?? "unknown")"))
        }
        let group = MultiThreadedEventLoopGroup.singleton
        var quiet = Logger(label: "martlet.doctor") { _ in SwiftLogNoOpLogHandler() }
        quiet.logLevel = .critical
        let engine = QEMUEngine(configuration: .init(directory: data.qemu, jail: nil), logger: quiet, group: group)
        let report = await engine.inspect()
        let found = DoctorReport.Engine(
            name: report.name, version: report.version, accelerator: report.isolation?.accelerator,
            level: report.isolation?.level.rawValue, reason: report.reason)
        guard report.isAvailable else {
            return (found, Check("qemu", .missing, report.reason, fix: "run scripts/install-dependencies"))
        }
        return (found, Check("qemu", .ok, "version \(report.version ?? "unknown")"))
    }

    /// What the running daemon says, which may have probed KVM by a boot.
    private func daemonEngine() async -> DoctorReport.Engine? {
        let host = try? await Session.with(starts: false) { try await $0.host() }
        return host?.engines.first { $0.available }.map(DoctorReport.Engine.init)
    }

    private func acceleration(_ engine: DoctorReport.Engine?) -> Check {
        guard let engine, let accelerator = engine.accelerator else {
            return Check("acceleration", .warning, "not known without QEMU")
        }
        if accelerator == "kvm" { return Check("acceleration", .ok, engine.reason) }
        return Check(
            "acceleration", .warning, engine.reason,
            fix: "sandboxes work, but slower, and emulation is no security boundary by QEMU's own policy: for "
                + "strangers' code use a machine with hardware virtualisation, or switch on nested virtualisation")
    }

    private func program(
        _ name: String, package: String, isRequired: Bool, purpose: String = "to build templates"
    ) -> Check {
        let path = environment["PATH"] ?? "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        // Debian keeps these for root, whose folders a user's PATH may lack.
        for folder in path.split(separator: ":").map(String.init) + ["/usr/sbin", "/sbin"]
        where access("\(folder)/\(name)", X_OK) == 0 {
            return Check(name, .ok, "\(folder)/\(name)")
        }
        return Check(
            name, isRequired ? .missing : .warning,
            isRequired ? "not installed" : "not installed; needed \(purpose)",
            fix: "apt-get install \(package), or run scripts/install-dependencies")
    }

    // MARK: Martlet's own parts

    private var agent: Check {
        access(installation.guestAgent, X_OK) == 0
            ? Check("guest agent", .ok, installation.guestAgent)
            : Check("guest agent", .missing, "\(installation.guestAgent) is not there", fix: "run scripts/build-guest")
    }

    /// Whether QEMU can be shut in here.
    private var jail: Check {
        get async {
            let configuration = QEMUJail.Configuration(jailer: installation.jailer, dataDirectory: data.path)
            guard let obstacle = try? await Blocking.run({ configuration.obstacle }) else {
                return Check("jail", .ok, "each QEMU gets a user, namespaces, limits and a call filter of its own")
            }
            return Check(
                "jail", .missing, "QEMU cannot be jailed: \(obstacle)",
                fix: "mend that, or run sandboxes without this wall: martlet serve --insecure-no-jail")
        }
    }

    private func templates(asking isRunning: Bool) async -> [(name: String, state: String)] {
        if isRunning, let found = try? await Session.with(starts: false, { try await $0.templates() }) {
            return found.map { ($0.name, $0.state) }
        }
        // Opening a store makes its folders, and this is only a look.
        let images = DataDirectory(path: environment["MARTLET_IMAGES"] ?? data.images).path
        guard access(images, F_OK) == 0,
            let store = try? ImageStore(
                directory: images, templatesDirectory: installation.templates, guestAgent: installation.guestAgent,
                logger: Logger(label: "martlet.doctor") { _ in SwiftLogNoOpLogHandler() })
        else { return [] }
        return await store.status().map { ($0.name, $0.state.rawValue) }
    }

    private func templateCheck(_ templates: [(name: String, state: String)]) -> Check {
        guard access(installation.templates, R_OK | X_OK) == 0 else {
            return Check(
                "templates", .missing, "no template definitions at \(installation.templates)",
                fix: "set MARTLET_TEMPLATES to the folder 'templates' of Martlet's repository")
        }
        let usable = templates.filter { $0.state == "ready" || $0.state == "stale" }.map(\.name)
        guard usable.isEmpty else { return Check("templates", .ok, "built: " + usable.joined(separator: ", ")) }
        return Check("templates", .warning, "none is built yet", fix: "martlet template build base")
    }

    private func daemonCheck(_ isRunning: Bool, _ daemon: DaemonFile?) -> Check {
        guard isRunning else {
            return Check("daemon", .ok, "not running; the first run starts it (log \(data.daemonLog))")
        }
        let place = daemon.map { "pid \($0.pid), \($0.url)" } ?? data.socket
        return Check("daemon", .ok, "running, \(place), log \(data.daemonLog)")
    }

    // MARK: Room

    /// The data directory, or the nearest folder above it that is there.
    private var existing: String {
        var path = data.path
        while access(path, F_OK) != 0, let slash = path.lastIndex(of: "/"), slash != path.startIndex {
            path = String(path[..<slash])
        }
        return access(path, F_OK) == 0 ? path : "/"
    }

    private var writable: Check {
        access(existing, W_OK | X_OK) == 0
            ? Check("data directory", .ok, data.path)
            : Check(
                "data directory", .missing, "\(existing) cannot be written to",
                fix: "set MARTLET_DATA to a directory of this user's")
    }

    private var space: Check {
        var room = clinux_space()
        guard clinux_filesystem_space(existing, &room) >= 0 else {
            return Check("disk space", .warning, "\(existing) does not tell its free space")
        }
        let text = "\(Format.bytes(room.available)) free at \(existing)"
        let fix = "free some space, or set MARTLET_DATA to a larger disk"
        if room.available < 1 << 30 { return Check("disk space", .missing, text, fix: fix) }
        return room.available < 4 << 30
            ? Check("disk space", .warning, text, fix: fix) : Check("disk space", .ok, text)
    }

    private var memory: Check {
        let text = String(decoding: (try? AtomicFile.read("/proc/meminfo")) ?? [], as: UTF8.self)
        let line = text.split(separator: "\n").first { $0.hasPrefix("MemAvailable:") }
        guard let kibibytes = line?.split(separator: " ").dropFirst().first.flatMap({ UInt64($0) }) else {
            return Check("memory", .warning, "the kernel does not tell how much is free")
        }
        let free = kibibytes * 1024
        let detail = "\(Format.bytes(free)) available"
        if free < 384 << 20 {
            return Check(
                "memory", .missing, detail, fix: "a sandbox needs 256 MiB and the daemon some; end other programs")
        }
        return free < 1 << 30 ? Check("memory", .warning, detail) : Check("memory", .ok, detail)
    }
}
