import Foundation
import Glibc
import GuestClient
import GuestProtocol
import LinuxSystem
import NIOPosix
import SandboxModel
import Testing

@testable import Node
@testable import QEMUEngine

/// Hazard 8: what a node finds that another one left when it ended, at whatever point.
@Suite(.serialized, .requiresTemplate, .timeLimit(.minutes(5))) struct LeftoverTests {
    @Test func `half-made captures, machines without a sandbox and unused bases are removed`() async throws {
        try await NodeFixture.withDirectory { directory in
            let (kept, gone) = (SnapshotID.random(), SnapshotID.random())
            try await NodeFixture.live(in: directory, stopsSandboxes: false) { fixture in
                let sandbox = try await fixture.create()
                _ = try await fixture.node.snapshot(sandbox.id, as: SnapshotSpec(id: kept))
                _ = try await fixture.node.snapshot(sandbox.id, as: SnapshotSpec(id: gone))
                // A machine that nobody was given yet: as of a create, a fork or a resume that was cut off.
                let child = try await fixture.fork(.sandbox(sandbox.id))[0]
                let machine = await fixture.node.directory(of: child.id)
                unlink("\(machine)/\(SandboxFile.name)")
                let orphan = await fixture.node.directory(of: sandbox.id)
                unlink("\(orphan)/\(SandboxFile.name)")
                #expect(fixture.list("bases").count == 1)
            }
            // What a capture, an import, a first capture of a template and a removal leave that were cut off.
            for path in ["staging/babc", "staging/xdef", "bases/.new-b", "bases/0123abc", "machines/mjunk"] {
                try FileManager.default.createDirectory(
                    atPath: "\(directory)/\(path)", withIntermediateDirectories: true)
                try Data("half".utf8).write(to: URL(fileURLWithPath: "\(directory)/\(path)/memory"))
            }
            try FileManager.default.removeItem(atPath: "\(directory)/snapshots/\(gone)/manifest.json")
            try await NodeFixture.live(in: directory) { fixture in
                #expect(await fixture.node.sandboxes().isEmpty)
                #expect(await fixture.node.snapshots().map(\.id) == [kept])
                #expect(fixture.list("machines").isEmpty && fixture.list("staging").isEmpty)
                #expect(fixture.list("bases").count == 1)
                try await fixture.node.removeSnapshot(kept)
            }
            try await NodeFixture.live(in: directory) { fixture in
                #expect(fixture.list("bases").isEmpty, "a base nothing stands on is kept")
            }
            #expect(await NodeFixture.emulators(in: directory).isEmpty)
        }
    }

    @Test func `of a sealed pause and the machine it was made of the pause counts`() async throws {
        try await NodeFixture.withDirectory { directory in
            let id = SandboxID.random()
            try await NodeFixture.live(in: directory, stopsSandboxes: false) { fixture in
                let sandbox = try await fixture.node.create(SandboxSpec(id: id, template: "base", hostname: "one"))
                _ = try await fixture.shell("echo paused > /run/state", in: sandbox)
                try await fixture.node.sealPause(of: id)
                _ = try await fixture.shell("echo later > /run/state", in: sandbox)
            }
            try await NodeFixture.live(in: directory) { fixture in
                #expect(await fixture.node.sandboxes().map(\.state) == [.paused])
                #expect(fixture.list("machines").isEmpty)
                let resumed = try await fixture.node.resume(id, from: .memory, network: .closed)
                #expect(try await fixture.output(of: "cat", "/run/state", in: resumed) == "paused")
                try await fixture.destroy(resumed)
            }
        }
    }

    @Test func `of a pause and the machine that was resumed from it the machine counts`() async throws {
        try await NodeFixture.withDirectory { directory in
            let id = SandboxID.random()
            try await NodeFixture.live(in: directory, stopsSandboxes: false) { fixture in
                let sandbox = try await fixture.node.create(SandboxSpec(id: id, template: "base", hostname: "one"))
                _ = try await fixture.shell("echo paused > /run/state", in: sandbox)
                _ = try await fixture.node.pause(id)
                try FileManager.default.copyItem(atPath: "\(directory)/paused/\(id)", toPath: "\(directory)/copy")
                let resumed = try await fixture.node.resume(id, from: .memory, network: .closed)
                _ = try await fixture.shell("echo later > /run/state", in: resumed)
                #expect(await fixture.eventually { fixture.list("paused").isEmpty })
            }
            // As if the end had come before the pause's files were removed.
            try FileManager.default.moveItem(atPath: "\(directory)/copy", toPath: "\(directory)/paused/\(id)")
            try await NodeFixture.live(in: directory) { fixture in
                let adopted = try #require(await fixture.node.sandboxes().first)
                #expect(adopted.state == .running && adopted.isAdopted)
                #expect(fixture.list("paused").isEmpty)
                #expect(try await fixture.output(of: "cat", "/run/state", in: adopted) == "later")
                try await fixture.destroy(adopted)
            }
        }
    }

    @Test func `of two machines of one sandbox the later one counts`() async throws {
        try await NodeFixture.withDirectory { directory in
            let id = SandboxID.random()
            try await NodeFixture.live(in: directory, stopsSandboxes: false) { fixture in
                let sandbox = try await fixture.node.create(SandboxSpec(id: id, template: "base", hostname: "one"))
                _ = try await fixture.shell("echo older > /run/state", in: sandbox)
                let child = try await fixture.fork(.sandbox(id))[0]
                _ = try await fixture.shell("echo newer > /run/state", in: child)
                // What a rewind that was cut off leaves: the machine it went on in, and the one it came from.
                let machine = await fixture.node.directory(of: child.id)
                var file = try SandboxFile.read(in: machine)
                file.id = id.rawValue
                file.generation = 1
                try file.write(in: machine)
            }
            #expect(await NodeFixture.emulators(in: directory).count == 2)
            try await NodeFixture.live(in: directory) { fixture in
                let adopted = try #require(await fixture.node.sandboxes().first)
                #expect(fixture.list("machines").count == 1)
                #expect(await NodeFixture.emulators(in: directory).count == 1)
                #expect(adopted.id == id)
                #expect(try await fixture.output(of: "cat", "/run/state", in: adopted) == "newer")
                try await fixture.destroy(adopted)
            }
        }
    }

    @Test func `programs held by a capture that was cut off go on, and deep disks are still known`() async throws {
        try await NodeFixture.withDirectory { directory in
            let id = SandboxID.random()
            try await NodeFixture.live(in: directory, stopsSandboxes: false) { fixture in
                let sandbox = try await fixture.node.create(SandboxSpec(id: id, template: "base", hostname: "one"))
                for round in 0..<3 {
                    _ = try await fixture.shell("echo \(round) > /root/\(round)", in: sandbox)
                    try await fixture.destroy(fixture.fork(.sandbox(id)))
                }
                #expect(try await fixture.node.guest(of: id).hold().frozen)
            }
            try await NodeFixture.live(in: directory) { fixture in
                let adopted = try #require(await fixture.node.sandboxes().first)
                #expect(try await fixture.shell("cat /root/0 /root/1 /root/2 | xargs", in: adopted) == "0 1 2")
                let child = try await fixture.fork(.sandbox(id))[0]
                _ = try await fixture.shell("sync; echo 3 > /proc/sys/vm/drop_caches", in: child)
                #expect(try await fixture.shell("cat /root/0 /root/1 /root/2 | xargs", in: child) == "0 1 2")
                try await fixture.destroy(adopted, child)
            }
        }
    }

    @Test func `paused sandboxes and snapshots survive a restart of the host`() async throws {
        try await NodeFixture.withDirectory { directory in
            let (snapshot, paused) = (SnapshotID.random(), SandboxID.random())
            try await NodeFixture.live(in: directory, stopsSandboxes: false) { fixture in
                let spec = SandboxSpec(id: paused, template: "base", environment: ["TOKEN=own"], hostname: "one")
                let sandbox = try await fixture.node.create(spec)
                try await fixture.startResident("def answer(question): return 'here'", in: sandbox)
                _ = try await fixture.shell("echo kept > /root/file", in: sandbox)
                // One that runs, on a base with blank memory.
                let child = try await fixture.fork(.sandbox(paused))[0]
                let booted = try await fixture.node.resume(child.id, from: .disk, network: .closed)
                _ = try await fixture.shell("echo booted > /run/state", in: booted)
                _ = try await fixture.node.snapshot(booted.id, as: SnapshotSpec(id: snapshot))
                _ = try await fixture.node.pause(paused)
            }
            for process in await NodeFixture.emulators(in: directory) {
                process.signal(SIGKILL)
                await ExitWatcher.shared.waitUntilEnded(process)
            }
            try NodeFixture.dropCaches(of: directory)
            try await NodeFixture.live(in: directory) { fixture in
                #expect(await fixture.node.sandboxes().map(\.id) == [paused])
                #expect(fixture.list("machines").isEmpty)
                let resumed = try await fixture.node.resume(paused, from: .memory, network: .closed)
                #expect(try await fixture.ask("anybody", in: resumed) == "here")
                #expect(try await fixture.shell("cat /root/file; echo $TOKEN", in: resumed) == "kept\nown")
                let child = try await fixture.fork(.snapshot(snapshot))[0]
                #expect(try await fixture.output(of: "cat", "/root/file", "/run/state", in: child) == "kept\nbooted")
                try await fixture.destroy(resumed, child)
            }
        }
    }
}

extension NodeFixture {
    /// Emulators that live in a node's directory, whoever started them.
    static func emulators(in directory: String) async -> [ProcessHandle] {
        // Known by what is mounted in their jails; mounts are told of by the path in their file system.
        let place = "/\(URL(fileURLWithPath: directory).lastPathComponent)/machines/"
        let found = try? await NIOThreadPool.singleton.runIfActive { () -> [ProcessHandle] in
            try FileManager.default.contentsOfDirectory(atPath: "/proc").compactMap { Int32($0) }.compactMap { pid in
                guard let mounts = try? AtomicFile.read("/proc/\(pid)/mountinfo", limit: 1 << 20),
                    String(decoding: mounts, as: UTF8.self).contains(place)
                else { return nil }
                return try? ProcessHandle.open(pid: pid)
            }
        }
        return (found ?? []).filter { !$0.hasEnded }
    }

    /// Makes the kernel forget the contents of all files below a directory that are on the storage.
    static func dropCaches(of directory: String) throws {
        for name in try FileManager.default.subpathsOfDirectory(atPath: directory) {
            guard let file = try? Descriptor.open("\(directory)/\(name)", O_RDONLY | O_NONBLOCK) else { continue }
            posix_fadvise(file.number, 0, 0, Int32(POSIX_FADV_DONTNEED))
        }
    }
}

extension Node {
    func directory(of id: SandboxID) -> String { running[id]?.home.directory ?? "" }

    /// The part of a pause up to where it counts.
    func sealPause(of id: SandboxID) async throws {
        guard let sandbox = running[id] else { throw unknown(id) }
        let fresh = try await capture(sandbox, CaptureOptions(resumes: true, flushes: true))
        _ = try await seal(fresh, as: .pause, id: id.rawValue)
    }
}
