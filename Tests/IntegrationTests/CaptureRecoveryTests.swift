import Foundation
import Glibc
import LinuxSystem
import MartletAPI
import MartletClient
import SandboxModel
import Testing

/// What is left when the daemon, or the whole machine, ends in the middle of a capture.
@Suite(.serialized, .requiresDaemon, .timeLimit(.minutes(5))) struct CaptureRecoveryTests {
    /// Everything that captures or restores, over and over, until the daemon is gone.
    private func churn(_ client: MartletClient, _ id: String, finished: FinishedSnapshots) async {
        var round = 0
        while !Task.isCancelled {
            round += 1
            do {
                let snapshot = try await client.createSnapshot(of: id)
                await finished.add(snapshot.id)
                let fork = try await client.forkSandbox(id)
                for child in fork.forks.compactMap(\.sandbox) { try await client.deleteSandbox(child.id) }
                try await client.pauseSandbox(id)
                try await client.resumeSandbox(id)
                _ = try await client.exec(id, ExecRequest(cmd: .shell("echo \(round) >> /root/log")))
            } catch {
                return
            }
        }
    }

    @Test(arguments: [Wall.microvm, .gvisor].filter(\.isInstalled))
    func `killed at 30 moments of capture, pause, resume, fork and merge, nothing finished is lost`(_ wall: Wall)
        async throws
    {
        try await DaemonFixture.with(["--pool-warm", "0", "--pool-shells", "1"]) { fixture in
            let sandbox = try await fixture.create(
                CreateSandboxRequest(timeoutSeconds: 3600, isolation: wall.rawValue))
            _ = try await fixture.output(
                sandbox,
                "echo memory > /run/mark; echo disk > /root/mark; head -c 3000000 /dev/urandom > /root/data; "
                    + "sha256sum /root/data > /run/sum; sync")
            let finished = FinishedSnapshots()
            for round in 0..<30 {
                let work = Task { [client = fixture.client] in await churn(client, sandbox.id, finished: finished) }
                // Another moment each time: that is what is tested. The steps are golden, so that none repeats.
                try await Task.sleep(for: .milliseconds(20 + (round * 233) % 619))
                fixture.kill()
                work.cancel()
                await work.value
                try await fixture.start()
                try await check(fixture, sandbox)
            }
            let snapshots = try await fixture.client.allSnapshots(kind: .snapshot).map(\.id)
            for id in await finished.ids { #expect(snapshots.contains(id), "a finished snapshot is gone") }
            // Each is whole: what it holds is what the sandbox held.
            for id in [snapshots.first, snapshots.last].compactMap({ $0 }) {
                let fork = try await fixture.client.forkSnapshot(id)
                guard let child = fork.forks.first?.sandbox else {
                    Issue.record("a snapshot cannot be forked: \(fork)")
                    continue
                }
                #expect(try await fixture.output(child, "cat /run/mark /root/mark; sha256sum -c /run/sum") == whole)
                try await fixture.client.deleteSandbox(child.id)
            }
            for id in snapshots { try await fixture.client.deleteSnapshot(id) }
            try await fixture.client.deleteSandbox(sandbox.id)
            #expect(entries(fixture, "snapshots").isEmpty)
            #expect(entries(fixture, "paused").isEmpty)
            #expect(entries(fixture, "staging").isEmpty)
        }
    }

    private let whole = "memory\ndisk\n/root/data: OK"

    /// The sandbox is there with all it had, running or paused, and nothing else is.
    private func check(_ fixture: DaemonFixture, _ sandbox: SandboxResource) async throws {
        let found = try await fixture.client.sandbox(sandbox.id)
        #expect(found.state == .running || found.state == .paused, "it is \(found.state): \(found.stateReason ?? "")")
        if found.state == .paused { try await fixture.client.resumeSandbox(sandbox.id) }
        #expect(try await fixture.output(sandbox, "cat /run/mark /root/mark; sha256sum -c /run/sum") == whole)
        for other in try await fixture.client.allSandboxes() where other.id != sandbox.id {
            try await fixture.client.deleteSandbox(other.id)
        }
        if sandbox.isolation.engine == "gvisor" { #expect(fixture.containers() <= 1, "a container was left") }
        #expect(entries(fixture, "staging").isEmpty, "something half-made was left")
        #expect(entries(fixture, "paused").isEmpty)
    }

    private func entries(_ fixture: DaemonFixture, _ name: String) -> [String] {
        (try? FileManager.default.contentsOfDirectory(atPath: "\(fixture.data)/node/\(name)")) ?? []
    }

    @Test func `paused sandboxes and snapshots survive a restart of the machine`() async throws {
        try await DaemonFixture.with { fixture in
            let sandbox = try await fixture.create(CreateSandboxRequest(name: "sleeper"))
            _ = try await fixture.output(sandbox, "echo memory > /run/mark; echo disk > /root/mark")
            let snapshot = try await fixture.client.createSnapshot(of: sandbox.id, CreateSnapshotRequest(name: "kept"))
            _ = try await fixture.output(sandbox, "echo later > /run/mark; sync")
            try await fixture.client.pauseSandbox(sandbox.id)
            let lost = try await fixture.create()
            // As a power cut: every process is gone at once, and what was not flushed is read from the disk again.
            fixture.kill()
            for machine in fixture.machines() {
                machine.signal(SIGKILL)
                _ = machine.waitForEnd(milliseconds: 5000)
            }
            dropCache(of: "\(fixture.data)/node")
            try await fixture.start()
            #expect(try await fixture.client.sandbox("sleeper").state == .paused)
            #expect(try await fixture.client.sandbox(lost.id).state == .failed)
            try await fixture.client.resumeSandbox("sleeper")
            #expect(try await fixture.output(sandbox, "cat /run/mark /root/mark") == "later\ndisk")
            let fork = try await fixture.client.forkSnapshot("kept")
            guard let child = fork.forks.first?.sandbox else {
                Issue.record("the snapshot cannot be forked: \(fork)")
                return
            }
            #expect(try await fixture.output(child, "cat /run/mark /root/mark") == "memory\ndisk")
            #expect(try await fixture.client.snapshot("kept").id == snapshot.id)
        }
    }

    /// Asks the kernel to forget what it holds of every file below a directory, so that it is read from the disk again.
    private func dropCache(of directory: String) {
        let files = FileManager.default.enumerator(atPath: directory)
        while let name = files?.nextObject() as? String {
            guard let file = try? Descriptor.open("\(directory)/\(name)", O_RDONLY) else { continue }
            posix_fadvise(file.number, 0, 0, POSIX_FADV_DONTNEED)
        }
    }

    /// Hard links cannot lead there, and so what captures stand on are copies, with other inodes than what machines of an
    /// earlier daemon have mapped.
    @Test(.enabled(if: geteuid() == 0, "mounts take root"))
    func `with images on another file system, adopted sandboxes are captured as well`() async throws {
        let mount = NSTemporaryDirectory() + "martlet-images-\(UUID().uuidString.prefix(8))"
        try FileManager.default.createDirectory(atPath: mount, withIntermediateDirectories: true)
        // A second mount of the same is as good as another file system: link(2) refuses to leave it.
        let mounted = try await Program.run("mount", ["--bind", DaemonFixture.images, mount])
        try #require(mounted.code == 0, "\(mounted.errors)")
        defer {
            umount2(mount, Int32(MNT_DETACH))
            rmdir(mount)
        }
        try await DaemonFixture.with(["--no-pool", "--images", mount]) { fixture in
            let sandbox = try await fixture.create()
            _ = try await fixture.output(sandbox, "echo memory > /run/mark; echo disk > /root/mark")
            func fork(_ parent: SandboxResource) async throws -> SandboxResource {
                let result = try await fixture.client.forkSandbox(parent.id)
                return try #require(result.forks.first?.sandbox, "\(result)")
            }
            let first = try await fork(sandbox)
            fixture.kill()
            try await fixture.start()
            for parent in [sandbox, first] {
                let child = try await fork(parent)
                #expect(try await fixture.output(child, "cat /run/mark /root/mark") == "memory\ndisk")
                try await fixture.client.pauseSandbox(parent.id)
                try await fixture.client.resumeSandbox(parent.id)
                #expect(try await fixture.output(parent, "cat /run/mark /root/mark") == "memory\ndisk")
            }
        }
    }

    @Test func `a snapshot goes from one machine to another as one file`() async throws {
        let file = NSTemporaryDirectory() + "martlet-export-\(UUID().uuidString.prefix(8))"
        defer { try? FileManager.default.removeItem(atPath: file) }
        try await DaemonFixture.with { fixture in
            let sandbox = try await fixture.create()
            _ = try await fixture.output(sandbox, "echo memory > /run/mark; echo disk > /root/mark")
            _ = try await fixture.client.createSnapshot(of: sandbox.id, CreateSnapshotRequest(name: "one"))
            let outcome = try await fixture.cli("snapshot", "export", "one", "-O", file)
            #expect(outcome.code == 0, "\(outcome.errors)")
        }
        try await DaemonFixture.with { fixture in
            let outcome = try await fixture.cli("snapshot", "import", file, "--name", "two")
            #expect(outcome.code == 0, "\(outcome.errors)")
            let fork = try await fixture.client.forkSnapshot("two")
            guard let child = fork.forks.first?.sandbox else {
                Issue.record("the import cannot be forked: \(fork)")
                return
            }
            #expect(try await fixture.output(child, "cat /run/mark /root/mark") == "memory\ndisk")
            // Cut off, and no export at all: refused, and nothing is kept of it.
            let whole = try Data(contentsOf: URL(fileURLWithPath: file))
            for damaged in [Data(whole.prefix(whole.count / 2)), Data(repeating: 7, count: 100_000), Data()] {
                try damaged.write(to: URL(fileURLWithPath: file))
                let refused = try await fixture.cli("snapshot", "import", file, "--name", "three")
                #expect(refused.code == 125)
                #expect(refused.errors.contains("not a whole export"), "\(refused.errors)")
            }
            #expect(try await fixture.client.allSnapshots().count == 1)
            #expect(entries(fixture, "staging").isEmpty)
        }
    }
}

/// Snapshots the daemon said were made.
private actor FinishedSnapshots {
    private(set) var ids: [String] = []
    func add(_ id: String) { ids.append(id) }
}
