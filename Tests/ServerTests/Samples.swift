import FoundationEssentials
import MartletAPI
import SandboxModel

/// One of each answer with every field there, to see which names it has on the wire.
enum Samples {
    private struct Ignored: Decodable { init(from decoder: any Decoder) throws {} }

    /// Schema name to property names.
    static func keys() throws -> [(String, Set<String>)] {
        try all.map { schema, value in
            let object = try JSONDecoder().decode([String: Ignored].self, from: try JSONEncoder().encode(value))
            return (schema, Set(object.keys))
        }
    }

    private static let time = Timestamp(milliseconds: 0)
    private static let detail = ErrorBody.Detail(code: "internal", message: "", details: [:], requestID: "")
    private static let exit = ProcessExitResource(
        exitCode: 0, signal: "", timedOut: false, durationMilliseconds: 0, cpuMilliseconds: 0, maxResidentBytes: 0,
        outputBytes: 0)
    private static let isolation = Isolation(engine: "", accelerator: "", level: .hardwareVM)
    private static let report = CreateReport(mode: .warm, totalMilliseconds: 0, phases: [:])

    private static let capture = CaptureReport(
        capturedAt: time, pauseMilliseconds: 0, phases: [:], memoryBytes: 0, diskBytes: 0)
    private static let sandbox = SandboxResource(
        id: "", name: "", template: "", state: .running, stateReason: "", isolation: isolation, cpus: 1, memoryMiB: 1,
        diskMiB: 1, createdAt: time, expiresAt: time, metadata: [:], parent: "", fromSnapshot: "", pausedAt: time,
        capture: capture, create: report, network: policy, secrets: [])
    private static let policy = NetworkPolicy(
        mode: .allowlist, dns: .init(servers: []), rateMbps: 1, maxConnections: 1)
    private static let counters = NetworkCounters()

    private static var snapshots: [(String, any Encodable)] {
        var child = ForkResult.Child(sandbox: sandbox)
        child.error = ForkResult.Failure(MartletError(.internal, ""))
        return [
            ("Capture", capture), ("SnapshotPage", Page<SnapshotResource>(items: [], nextCursor: "")),
            (
                "Snapshot",
                SnapshotResource(
                    id: "", name: "", kind: .snapshot, number: 0, sandbox: "", parent: "", template: "",
                    isolation: isolation, cpus: 1, memoryMiB: 1, diskMiB: 1, capturedAt: time, pauseMilliseconds: 0,
                    memoryBytes: 0, diskBytes: 0, metadata: [:], state: .ready, inUseBy: [], network: policy)
            ),
            (
                "ForkResult",
                ForkResult(capturedAt: time, pauseMilliseconds: 0, source: .running, snapshot: "", forks: [])
            ),
            ("ForkChild", child), ("ForkFailure", ForkResult.Failure(MartletError(.internal, ""))),
            ("Tree", TreeResource(nodes: [])),
            (
                "TreeNode",
                TreeResource.Node(
                    id: "", kind: .sandbox, name: "", number: 0, sandbox: "", parent: "", state: "", at: time,
                    isCurrent: true)
            ),
        ]
    }

    private static var derived: TemplateResource.Derived {
        .init(template: "", name: "", tags: [""], parent: "", user: "", workingDirectory: "")
    }

    private static var all: [(String, any Encodable)] {
        sandboxes + processesAndFiles + snapshots + networks + [
            (
                "Port",
                PortResource(
                    port: 1, visibility: .private, url: "", pathURL: "", token: "", expiresAt: time, wake: false)
            ), ("PortPage", Page<PortResource>(items: [], nextCursor: "")),
            ("Error", ErrorBody(error: detail)), ("ErrorDetail", detail), ("Status", ["status": "ok"]),
            (
                "Template",
                TemplateResource(
                    name: "", description: "", state: "", digest: "", kernel: "", sizeBytes: 0, builtAt: time, cpus: 1,
                    memoryMiB: 1, diskMiB: 1, captures: 1, aliases: [""], images: [""], derived: derived)
            ), ("DerivedTemplate", derived),
            ("TemplatePage", Page<TemplateResource>(items: [], nextCursor: "")),
            (
                "TemplateBuild",
                TemplateBuild(
                    id: "", template: "", state: "", stage: "", stageIndex: 0, stageCount: 0, message: "",
                    elapsedMilliseconds: 0, startedAt: time, error: detail)
            ),
            (
                "Host",
                HostResource(
                    version: "", kernel: "", cpus: 1, memoryBytes: 1, memoryAvailableBytes: 1, diskAvailableBytes: 1,
                    sandboxes: 1, maxSandboxes: 1, engines: [], pools: [], network: hostNetwork)
            ),
            ("HostNetwork", hostNetwork),
            (
                "Engine",
                HostResource.Engine(
                    name: "", available: true, version: "", accelerator: "", reason: "", level: .hardwareVM,
                    capabilities: [.network])
            ),
            (
                "Pool",
                HostResource.Pool(
                    template: "", cpus: 1, memoryMiB: 1, engine: "qemu", shells: 1, warm: 1, targetShells: 1,
                    targetWarm: 1)
            ),
        ]
    }

    private static var sandboxes: [(String, any Encodable)] {
        [
            ("Sandbox", sandbox),
            ("SandboxPage", Page<SandboxResource>(items: [], nextCursor: "")), ("Isolation", isolation),
            ("CreateReport", report),
            ("SandboxEvent", SandboxEvent(time: time, kind: "", message: "")),
            (
                "SandboxMetrics",
                SandboxMetrics(
                    uptimeMilliseconds: 0, cpuUserMilliseconds: 0, cpuSystemMilliseconds: 0, cpuIdleMilliseconds: 0,
                    loadAverage: 0, memoryTotalBytes: 0, memoryAvailableBytes: 0, hostPrivateBytes: 0,
                    hostProportionalBytes: 0, diskTotalBytes: 0, diskUsedBytes: 0, diskReadBytes: 0,
                    diskWrittenBytes: 0, networkReceivedBytes: 0, networkSentBytes: 0, processes: 0,
                    network: counters)
            ),
            (
                "ExecResult",
                ExecResult(
                    exitCode: 0, signal: "", stdout: "", stderr: "", stdoutBase64: "", stderrBase64: "",
                    timedOut: false, truncated: false, durationMilliseconds: 0, guestMilliseconds: 0, checkpoint: 0,
                    checkpointMilliseconds: 0)
            ),
        ]
    }

    private static let hostNetwork = HostResource.Network(
        available: true, reason: "", subnet: IPv4Prefix(IPv4Address(bits: 0), length: 16), slots: 1, slotsUsed: 1,
        slotsReady: 1, defaultMode: .none)

    private static var networks: [(String, any Encodable)] {
        var source = SecretRequest.Source(value: "")
        source.env = ""
        return [
            ("NetworkPolicy", policy), ("NetworkNames", NetworkPolicy.Names(servers: [])),
            ("NetworkCounters", counters), ("SecretSource", source),
            ("Secret", SecretRequest(name: "", valueFrom: source, hosts: [], header: "", format: "")),
            ("SecretSummary", SecretSummary(name: "", hosts: [])),
            ("NetworkSecret", NetworkResource.Secret(name: "", hosts: [], header: "", placeholder: "")),
            (
                "Network",
                NetworkResource(
                    policy: policy, secrets: [], address: IPv4Address(bits: 0), counters: counters, problem: "")
            ),
        ]
    }

    private static var processesAndFiles: [(String, any Encodable)] {
        [
            (
                "Process",
                ProcessResource(
                    pid: 1, cmd: [], cwd: "", user: "", pty: false, startedAt: time, running: true, firstOffset: 0,
                    outputBytes: 0, exit: exit)
            ),
            ("ProcessPage", Page<ProcessResource>(items: [], nextCursor: "")), ("ProcessExit", exit),
            ("TerminalSize", TerminalSizeResource(rows: 1, cols: 1)),
            ("OutputEvent", OutputEvent(offset: 0, text: "", base64: "")),
            (
                "File",
                FileResource(
                    type: "", path: "", name: "", size: 0, mode: "", uid: 0, gid: 0, modifiedAt: time, target: "",
                    labels: [:])
            ),
            ("FilePage", Page<FileResource>(items: [], nextCursor: "")),
            ("FileEvent", FileEventResource(path: "", to: "", directory: false)),
        ]
    }
}
