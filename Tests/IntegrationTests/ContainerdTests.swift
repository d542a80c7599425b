import CLinux
import Foundation
import Glibc
import LinuxSystem
import MartletAPI
import MartletClient
import Testing

/// Debian's containerd with our runtime in runc's place, spoken with by its own client.
@Suite(.serialized, .requiresDaemon, .requiresContainerd, .timeLimit(.minutes(5))) struct ContainerdTests {
    @Test func `an image of containerd's runs in a machine of its own`() async throws {
        try await ContainerdFixture.with { containerd in
            let plain = try await containerd.run("one", "sh", "-c", "uname -r; echo err >&2; exit 7")
            #expect(plain.code == 7, "\(plain)")
            #expect(plain.output.hasSuffix("cloud-amd64\n") && plain.output != HostKernel.release + "\n")
            #expect(plain.errors.contains("err\n"))
            let missing = try await containerd.run("two", "no-such-program")
            #expect(missing.code != 0 && missing.errors.contains("no-such-program"), "\(missing)")
            try await containerd.expectNothingLeft()
        }
    }

    @Test func `one in the background is listed, ended and removed`() async throws {
        try await ContainerdFixture.with { containerd in
            let started = try await containerd(
                ["run", "-d"] + containerd.flags + [ContainerdFixture.image, "long", "sleep", "1000"])
            try #require(started.code == 0, "\(started)")
            #expect(try await containerd("task", "ls").output.contains("RUNNING"))
            #expect(try await containerd.daemon.client.sandboxes().items.count == 1)
            #expect(try await containerd("task", "kill", "-s", "KILL", "long").code == 0)
            for _ in 0..<500 where try await !containerd("task", "ls").output.contains("STOPPED") {}
            #expect(try await containerd("task", "rm", "long").errors.contains("137"))
            #expect(try await containerd("container", "rm", "long").code == 0)
            try await containerd.expectNothingLeft()
        }
    }

    @Test func `what a machine cannot give is refused with the reason`() async throws {
        try await ContainerdFixture.with { containerd in
            let refused = try await containerd(
                ["run", "--rm", "--net-host"] + containerd.flags + [ContainerdFixture.image, "host", "true"])
            #expect(refused.code != 0 && refused.errors.contains("does not join the host's networks"), "\(refused)")
            try await containerd.expectNothingLeft()
        }
    }
}

/// A containerd of the test's own, with a small image made without a network, and our runtime beside a daemon of ours.
struct ContainerdFixture: Sendable {
    static let image = "docker.io/library/tiny:latest"

    let daemon: DaemonFixture
    var home: String { daemon.data + "/containerd" }
    private var address: String { home + "/c.sock" }
    private var runtime: String { home + "/runtime" }
    private var state: String { home + "/oci" }
    var flags: [String] { ["--snapshotter", "native", "--runc-binary", runtime] }

    static var canRun: Bool {
        ["/usr/bin/containerd", "/usr/bin/ctr", "/usr/bin/containerd-shim-runc-v2", "/usr/bin/busybox"].allSatisfy {
            FileManager.default.isExecutableFile(atPath: $0)
        } && geteuid() == 0
    }

    static func with(_ body: (ContainerdFixture) async throws -> Void) async throws {
        try await DaemonFixture.with { daemon in
            let containerd = ContainerdFixture(daemon: daemon)
            let process = try await containerd.start()
            var outcome: Result<Void, any Error> = .success(())
            do {
                try await containerd.importImage()
                try await body(containerd)
            } catch { outcome = .failure(error) }
            _ = try? await containerd("task", "kill", "-a", "-s", "KILL", "long")
            process.signal(SIGTERM)
            await ExitWatcher.shared.waitUntilEnded(process)
            // A shim outlives containerd as long as its task does.
            let shims = (try? await Program.run("pgrep", ["-f", "--", "-address \(containerd.address)"]).output) ?? ""
            for pid in shims.split(separator: "\n").compactMap({ pid_t($0) }) {
                guard let shim = try? ProcessHandle.open(pid: pid) else { continue }
                shim.signal(SIGKILL)
                await ExitWatcher.shared.waitUntilEnded(shim)
            }
            try outcome.get()
        }
    }

    private func start() async throws -> ProcessHandle {
        try FileManager.default.createDirectory(atPath: home, withIntermediateDirectories: true)
        let configuration = """
            version = 2
            root = "\(home)/root"
            state = "\(home)/state"
            disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.internal.v1.opt"]
            [grpc]
              address = "\(address)"
            [ttrpc]
              address = "\(address).ttrpc"

            """
        try AtomicFile.write(Array(configuration.utf8), to: home + "/config.toml", durable: false)
        let program = URL(fileURLWithPath: DaemonFixture.program).deletingLastPathComponent().path + "/martlet-oci"
        // The root containerd passes is every containerd's on this host: ours comes after it.
        let script = """
            #!/bin/sh
            [ "$1" = --root ] && shift 2
            exec \(program) --root \(state) --data \(daemon.data) "$@"

            """
        try AtomicFile.write(Array(script.utf8), to: runtime, mode: 0o755, durable: false)
        let log = try Descriptor.open(home + "/log", O_WRONLY | O_CREAT | O_APPEND)
        var request = SpawnRequest(
            program: "/usr/bin/containerd", arguments: ["containerd", "-c", home + "/config.toml"],
            environment: ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"], descriptors: [nil, log.number, log.number])
        request.directory = "/"
        let process = try ProcessHandle.open(pid: try ChildProcess.spawn(request).pid)
        for _ in 0..<400 where try await self("version").code != 0 {
            try await Task.sleep(for: .milliseconds(50))
        }
        return process
    }

    private func importImage() async throws {
        let root = home + "/image"
        let line = """
            set -e; mkdir -p $0/bin $0/etc; cp /usr/bin/busybox $0/bin/
            for name in sh cat echo true sleep uname; do ln -s busybox $0/bin/$name; done
            echo root:x:0:0:root:/:/bin/sh > $0/etc/passwd; tar -C $0 -cf $0.layer .
            """
        let made = try await Program.run("sh", ["-c", line, root])
        try #require(made.code == 0, "\(made.errors)")
        try await writeArchive(layer: root + ".layer", to: root + ".oci")
        let imported = try await self("images", "import", "--snapshotter", "native", root + ".tar")
        try #require(imported.code == 0, "\(imported)")
    }

    /// An image as one file (image-layout.md of the OCI image specification).
    private func writeArchive(layer: String, to folder: String) async throws {
        let blobs = folder + "/blobs/sha256"
        try FileManager.default.createDirectory(atPath: blobs, withIntermediateDirectories: true)
        func keep(_ data: Data) async throws -> (digest: String, size: Int) {
            let path = folder + "/blob"
            try data.write(to: URL(fileURLWithPath: path))
            let sum = try await Program.run("sha256sum", [path]).output.prefix(64)
            try FileManager.default.moveItem(atPath: path, toPath: "\(blobs)/\(sum)")
            return ("sha256:\(sum)", data.count)
        }
        let content = try await keep(try Data(contentsOf: URL(fileURLWithPath: layer)))
        let configuration = try await keep(
            Data(
                """
                {"architecture":"amd64","os":"linux","config":{"Env":["PATH=/bin"]},
                 "rootfs":{"type":"layers","diff_ids":["\(content.digest)"]}}
                """.utf8))
        let kind = "application/vnd.oci.image"
        let manifest = try await keep(
            Data(
                """
                {"schemaVersion":2,"mediaType":"\(kind).manifest.v1+json",
                 "config":{"mediaType":"\(kind).config.v1+json","digest":"\(configuration.digest)",
                           "size":\(configuration.size)},
                 "layers":[{"mediaType":"\(kind).layer.v1.tar","digest":"\(content.digest)","size":\(content.size)}]}
                """.utf8))
        let index = """
            {"schemaVersion":2,"manifests":[{"mediaType":"\(kind).manifest.v1+json","digest":"\(manifest.digest)",
             "size":\(manifest.size),"platform":{"architecture":"amd64","os":"linux"},
             "annotations":{"io.containerd.image.name":"\(Self.image)"}}]}
            """
        try Data(index.utf8).write(to: URL(fileURLWithPath: folder + "/index.json"))
        try Data("{\"imageLayoutVersion\":\"1.0.0\"}".utf8).write(to: URL(fileURLWithPath: folder + "/oci-layout"))
        let archive = folder.dropLast(".oci".count) + ".tar"
        let packed = try await Program.run(
            "tar", ["-C", folder, "-cf", String(archive), "oci-layout", "index.json", "blobs"])
        try #require(packed.code == 0, "\(packed.errors)")
    }

    func callAsFunction(_ arguments: [String]) async throws -> DaemonFixture.Outcome {
        try await Program.run("ctr", ["-a", address] + arguments)
    }

    func callAsFunction(_ arguments: String...) async throws -> DaemonFixture.Outcome { try await self(arguments) }

    /// Runs a program in a container that is gone afterwards.
    func run(_ name: String, _ words: String...) async throws -> DaemonFixture.Outcome {
        try await self(["run", "--rm"] + flags + [Self.image, name] + words)
    }

    func expectNothingLeft() async throws {
        #expect((try? FileManager.default.contentsOfDirectory(atPath: state)) ?? [] == [])
        #expect(try await daemon.client.sandboxes().items.count == 0)
    }
}

extension Trait where Self == ConditionTrait {
    /// Needs Debian's containerd and busybox-static, which `scripts/test` installs, and root.
    static var requiresContainerd: Self {
        .enabled(if: ContainerdFixture.canRun, "containerd is not installed, or this is not root")
    }
}
