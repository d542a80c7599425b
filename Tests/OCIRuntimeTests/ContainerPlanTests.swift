import SandboxModel
import Testing

@testable import OCIRuntime

@Suite struct ContainerPlanTests {
    /// A configuration that is accepted, with parts put in or replaced.
    private static func text(
        process: String = #""args":["sh"],"cwd":"/","user":{"uid":0,"gid":0}"#, root: String = "/usr",
        spaces: String = #"{"type":"pid"},{"type":"ipc"},{"type":"uts"},{"type":"mount"},{"type":"network"}"#,
        linux: String = "", rest: String = ""
    ) -> String {
        #"{"ociVersion":"1.0.2","process":{\#(process)},"root":{"path":"\#(root)"},"#
            + #""linux":{"namespaces":[\#(spaces)]\#(linux)}\#(rest)}"#
    }

    private static func plan(_ text: String) throws -> ContainerPlan {
        try ContainerPlan(try ContainerConfiguration.parse(Array(text.utf8), name: "config.json"), bundle: "/")
    }

    @Test func `sizes of the machine follow the limits`() throws {
        let resources =
            #","resources":{"memory":{"limit":67108864},"cpu":{"quota":150000,"period":100000},"#
            + #""pids":{"limit":10}}"#
        let plan = try Self.plan(Self.text(linux: resources))
        #expect(plan.memoryLimit == 64 << 20)
        #expect(plan.memoryMiB == 160)
        #expect(plan.cpus == 2)
        #expect(plan.processLimit == 10)
        let free = try Self.plan(Self.text())
        #expect(free.memoryMiB == nil)
        #expect(free.cpus == nil)
        #expect(free.network == .closed)
    }

    @Test func `hostile configurations are errors`() {
        let user = #""user":{"uid":0,"gid":0}"#
        let texts = [
            "", "[]", "{", "null", #"{"ociVersion":"1.0"}"#, String(repeating: "[", count: 100_000),
            Self.text(process: #""args":[],"cwd":"/",\#(user)"#),
            Self.text(process: #""args":"sh","cwd":"/",\#(user)"#),
            Self.text(process: #""args":["sh"],"cwd":"tmp",\#(user)"#),
            Self.text(process: #""args":["sh"],"cwd":"/../etc",\#(user)"#),
            Self.text(process: #""args":["a\u0000b"],"cwd":"/",\#(user)"#),
            Self.text(process: #""args":["sh"],"env":["NOVALUE"],"cwd":"/",\#(user)"#),
            Self.text(process: #""args":["sh"],"cwd":"/","user":{"uid":-1,"gid":0}"#),
            Self.text(process: #""args":["sh"],"cwd":"/",\#(user),"capabilities":{"bounding":["CAP_ALL"]}"#),
            Self.text(process: #""args":["sh"],"cwd":"/",\#(user),"rlimits":[{"type":"NOFILE","hard":1,"soft":1}]"#),
            Self.text(root: "/no/such/place"), Self.text(root: "/etc/passwd"),
            Self.text(linux: #","sysctl":{"../../etc/passwd":"x"}"#),
            Self.text(linux: #","resources":{"memory":{"limit":1}}"#),
            Self.text(linux: #","resources":{"cpu":{"quota":1,"period":0}}"#),
            Self.text(linux: #","maskedPaths":["proc"]"#),
            Self.text(rest: #","hostname":"a b""#),
            Self.text(rest: #","annotations":{"dev.martlet.network":"host"}"#),
        ]
        for text in texts {
            #expect(throws: MartletError.self, "\(text.prefix(200))") { try Self.plan(text) }
        }
    }

    @Test func `what needs the host is refused`() {
        let own = #"{"type":"pid"},{"type":"ipc"},{"type":"uts"},{"type":"mount"}"#
        let texts = [
            Self.text(spaces: own), Self.text(spaces: own + #",{"type":"network","path":"/run/netns/x"}"#),
            Self.text(spaces: #"{"type":"ipc"},{"type":"uts"},{"type":"mount"},{"type":"network"}"#),
            Self.text(spaces: own + #",{"type":"network"},{"type":"user"}"#),
            Self.text(linux: #","devices":[{"path":"/dev/kvm"}]"#),
            Self.text(rest: #","annotations":{"io.podman.annotations.privileged":"TRUE"}"#),
            Self.text(rest: #","hooks":{"prestart":[{"path":"/bin/true"}]}"#),
            Self.text(rest: #","mounts":[{"destination":"/x","type":"bind","source":"/tmp","options":["ro"]}]"#),
            Self.text(rest: #","mounts":[{"destination":"/x","type":"bind","source":"/etc/passwd","options":["rw"]}]"#),
            Self.text(rest: #","mounts":[{"destination":"/x","type":"ext4","source":"/dev/sda"}]"#),
        ]
        for text in texts {
            #expect("\(text)") { try Self.plan(text) } throws: { ($0 as? MartletError)?.code == .unsupported }
        }
    }

    @Test func `the guest gets read-only files as copies and its own file systems`() throws {
        let mounts =
            #","mounts":[{"destination":"/proc","type":"proc","options":["nosuid","ro"]},"#
            + #"{"destination":"/s","type":"bind","source":"/etc/passwd","options":["bind","ro"]},"#
            + #"{"destination":"/dev/shm","type":"bind","source":"/nowhere","options":["bind"]},"#
            + #"{"destination":"/t","type":"tmpfs","options":["size=1m","rprivate"]}]"#
        let plan = try Self.plan(Self.text(rest: mounts))
        #expect(
            plan.mounts == [
                .filesystem(type: "proc", flags: 3, data: "", destination: "/proc"),
                .file(source: "/etc/passwd", destination: "/s"),
                .filesystem(type: "tmpfs", flags: 14, data: "mode=1777", destination: "/dev/shm"),
                .filesystem(type: "tmpfs", flags: 0, data: "size=1m", destination: "/t"),
            ])
        let spec = GuestSpec(plan)
        #expect(spec.files == ["/etc/passwd"])
        let words = spec.bytes.split(separator: 0, omittingEmptySubsequences: false)
            .map { String(decoding: $0, as: UTF8.self) }
        #expect(words.prefix(2) == ["arg", "sh"])
        #expect(words.contains("proc 3  /proc"))
        #expect(words.contains("file 0  /s"))
    }
}
