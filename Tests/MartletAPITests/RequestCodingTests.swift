import FoundationEssentials
import MartletAPI
import SandboxModel
import Testing

private struct Ignored: Decodable {
    init(from decoder: any Decoder) throws {}
}

@Suite("Requests on the wire")
struct RequestCodingTests {
    private func decode<T: Decodable>(_ type: T.Type, _ json: String) throws -> T {
        try JSONDecoder().decode(type, from: Data(json.utf8))
    }

    private func keys(_ value: some Encodable) throws -> Set<String> {
        return Set(try JSONDecoder().decode([String: Ignored].self, from: try JSONEncoder().encode(value)).keys)
    }

    @Test("A command is a list or a line for the shell")
    func command() throws {
        #expect(try decode(Command.self, #"["ls","-l"]"#) == .arguments(["ls", "-l"]))
        #expect(try decode(Command.self, #""ls -l | wc""#) == .shell("ls -l | wc"))
        #expect(Command.shell("ls -l").argumentVector == ["/bin/sh", "-c", "ls -l"])
        #expect(throws: DecodingError.self) { try decode(Command.self, "{}") }
        #expect(throws: DecodingError.self) { try decode(Command.self, "[1]") }
    }

    @Test("The fields a request lists are the fields it writes")
    func fields() throws {
        let size = TerminalSizeResource(rows: 1, cols: 1)
        #expect(
            try keys(
                CreateSandboxRequest(
                    template: "", name: "", timeoutSeconds: 1, cpus: 1, memoryMiB: 1, diskMiB: 1, env: [:],
                    metadata: [:], isolation: "", fromSnapshot: "", inheritEnv: true, onTimeout: .pause, record: true,
                    network: .closed, secrets: []))
                == Set(CreateSandboxRequest.fields))
        #expect(
            try keys(UpdateSandboxRequest(timeoutSeconds: 1, metadata: [:], onTimeout: .kill))
                == Set(UpdateSandboxRequest.fields))
        #expect(try keys(CreateSnapshotRequest(name: "", metadata: [:])) == Set(CreateSnapshotRequest.fields))
        #expect(try keys(ResumeSandboxRequest(from: .disk, timeoutSeconds: 1)) == Set(ResumeSandboxRequest.fields))
        #expect(try keys(RewindRequest(to: 1)) == Set(RewindRequest.fields))
        #expect(
            try keys(
                ForkSandboxRequest(
                    count: 1, timeoutSeconds: 1, metadata: [:], env: [:], inheritEnv: true, at: 1, network: .closed,
                    secrets: [], inheritSecrets: true))
                == Set(ForkSandboxRequest.fields))
        #expect(
            try keys(
                ForkSnapshotRequest(
                    count: 1, timeoutSeconds: 1, metadata: [:], env: [:], inheritEnv: true, network: .closed,
                    secrets: []))
                == Set(ForkSnapshotRequest.fields))
        #expect(
            try keys(
                ExecRequest(
                    cmd: .shell(""), cwd: "", env: [:], user: "", stdin: "", timeoutSeconds: 1, maxOutputBytes: 1))
                == Set(ExecRequest.fields))
        #expect(
            try keys(
                StartProcessRequest(
                    cmd: .shell(""), cwd: "", env: [:], user: "", stdin: true, pty: size, timeoutSeconds: 1,
                    replayBytes: 1)) == Set(StartProcessRequest.fields))
        #expect(try keys(WriteInputRequest(text: "", base64: "", close: true)) == Set(WriteInputRequest.fields))
        #expect(try keys(SignalRequest(signal: "")) == Set(SignalRequest.fields))
        #expect(try keys(ResizeRequest(rows: 1, cols: 1)) == Set(ResizeRequest.fields))
        #expect(
            try keys(MakeDirectoryRequest(path: "", mode: "", parents: true, owner: ""))
                == Set(MakeDirectoryRequest.fields))
        #expect(try keys(MoveFileRequest(from: "", to: "")) == Set(MoveFileRequest.fields))
        #expect(try keys(BuildTemplateRequest(name: "", force: true)) == Set(BuildTemplateRequest.fields))
        let policy = NetworkPolicy(mode: .public, dns: .init(servers: []), rateMbps: 1, maxConnections: 1)
        #expect(try keys(policy) == Set(NetworkPolicy.fields))
        let secret = SecretRequest(name: "", valueFrom: .init(value: ""), hosts: [], header: "", format: "")
        #expect(try keys(secret) == Set(CreateSandboxRequest.innerFields["secrets"] ?? []))
    }

    @Test("A sandbox survives the wire whole")
    func sandbox() throws {
        let sandbox = SandboxResource(
            id: "s0123456789abcdefghj", name: "web", template: "base", state: .running,
            isolation: Isolation(engine: "qemu", accelerator: "kvm", level: .hardwareVM), cpus: 2, memoryMiB: 512,
            diskMiB: 2048, createdAt: Timestamp(milliseconds: 1_700_000_000_123),
            expiresAt: Timestamp(milliseconds: 1_700_000_300_123), metadata: ["team": "blue"],
            create: CreateReport(mode: .warm, totalMilliseconds: 9.5, phases: ["thaw": 8]))
        let data = try JSONEncoder().encode(sandbox)
        let text = String(decoding: data, as: UTF8.self)
        #expect(text.contains(#""created_at":"2023-11-14T22:13:20.123Z""#))
        #expect(text.contains(#""level":"hardware-vm""#))
        let back = try JSONDecoder().decode(SandboxResource.self, from: data)
        #expect(back.createdAt == sandbox.createdAt)
        #expect(back.create == sandbox.create)
        #expect(back.metadata == sandbox.metadata)
        #expect(back.name == "web")
    }

    @Test("A sandbox of a server from before snapshots can be read")
    func sandboxOfAnOlderServer() throws {
        let old = """
            {"id":"s0123456789abcdefghj","template":"base","state":"running","cpus":1,"memory_mb":256,"disk_mb":4096,
            "isolation":{"engine":"qemu","accelerator":"tcg","level":"emulated-vm"},"metadata":{},
            "created_at":"2023-11-14T22:13:20.123Z","expires_at":"2023-11-14T22:18:20.123Z"}
            """
        let sandbox = try decode(SandboxResource.self, old)
        #expect(sandbox.onTimeout == .kill)
        #expect(!sandbox.record)
        #expect(sandbox.pausedAt == nil)
    }
}
