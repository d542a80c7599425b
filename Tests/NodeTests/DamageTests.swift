import Foundation
import ImageStore
import SandboxEngine
import SandboxModel
import Testing

@testable import Node

/// Hazard 7: what does not fit, or is not what was written, is refused with the reason, and takes nothing with it.
@Suite(.serialized, .requiresTemplate, .timeLimit(.minutes(5))) struct DamageTests {
    /// Makes snapshots named by what is to become of them, and a paused sandbox, in the life of one node.
    private static func prepare(
        _ directory: String, _ names: [String]
    ) async throws -> (snapshots: [String: SnapshotID], paused: SandboxID) {
        let (ids, paused) = (names.map { ($0, SnapshotID.random()) }, SandboxID.random())
        try await NodeFixture.live(in: directory) { fixture in
            let sandbox = try await fixture.node.create(SandboxSpec(id: paused, template: "base", hostname: "paused"))
            _ = try await fixture.shell("echo memory > /run/here; echo disk > /root/here", in: sandbox)
            for (_, id) in ids { _ = try await fixture.node.snapshot(paused, as: SnapshotSpec(id: id)) }
            _ = try await fixture.node.pause(paused)
            #expect(await fixture.eventually { fixture.list("machines").isEmpty })
        }
        return (Dictionary(uniqueKeysWithValues: ids), paused)
    }

    /// Puts a changed copy in a file's place: its other links, in other captures, stay as they are.
    private static func replace(_ path: String, _ change: (inout Data) -> Void) throws {
        var bytes = try Data(contentsOf: URL(fileURLWithPath: path))
        change(&bytes)
        try bytes.write(to: URL(fileURLWithPath: path), options: .atomic)
    }

    private static func flip(_ path: String, at share: Double) throws {
        try replace(path) { $0[Int(Double($0.count - 1) * share)] ^= 0x10 }
    }

    private static func expect(
        _ reason: String, _ what: String, sourceLocation: SourceLocation = #_sourceLocation,
        _ body: () async throws -> Void
    ) async {
        let error = await #expect(throws: MartletError.self, "\(what)", sourceLocation: sourceLocation) {
            try await body()
        }
        #expect(
            error?.code == .failedPrecondition && error?.details["reason"] == reason,
            "\(what): \(String(describing: error))",
            sourceLocation: sourceLocation)
    }

    @Test func `damaged captures are refused, and the others are not affected`() async throws {
        // A changed byte keeps a file's size, and is found when it is used; the others are not even listed.
        let flipped = ["pages", "device-state", "layer-0.qcow2"]
        let broken = ["manifest", "short pages", "no pages", "no layer", "long state", "no manifest"]
        try await NodeFixture.withDirectory { directory in
            let (snapshots, paused) = try await DamageTests.prepare(directory, flipped + broken + ["good"])
            func home(_ name: String) -> String { "\(directory)/snapshots/\(snapshots[name]!)" }
            try DamageTests.flip("\(home("pages"))/pages", at: 0.6)
            try DamageTests.flip("\(home("device-state"))/device-state", at: 0.5)
            try DamageTests.flip("\(home("layer-0.qcow2"))/layer-0.qcow2", at: 0.9)
            try DamageTests.flip("\(home("manifest"))/manifest.json", at: 0.5)
            try DamageTests.replace("\(home("short pages"))/pages") { $0.removeLast() }
            try DamageTests.replace("\(home("long state"))/device-state") { $0.append(0) }
            try FileManager.default.removeItem(atPath: "\(home("no pages"))/pages")
            try FileManager.default.removeItem(atPath: "\(home("no layer"))/layer-0.qcow2")
            try FileManager.default.removeItem(atPath: "\(home("no manifest"))/manifest.json")
            try DamageTests.flip("\(directory)/paused/\(paused)/device-state", at: 0.3)
            try await NodeFixture.live(in: directory) { fixture in
                let listed = Set(await fixture.node.snapshots().map(\.id))
                #expect(listed == Set((flipped + ["good"]).map { snapshots[$0]! }))
                for name in flipped {
                    for _ in 0..<2 {
                        await DamageTests.expect("damaged", name) {
                            _ = try await fixture.fork(.snapshot(snapshots[name]!))
                        }
                    }
                }
                for name in broken {
                    let error = await #expect(throws: MartletError.self) {
                        try await fixture.fork(.snapshot(snapshots[name]!))
                    }
                    #expect(error?.code == .notFound)
                }
                let child = try await fixture.fork(.snapshot(snapshots["good"]!))[0]
                #expect(try await fixture.output(of: "cat", "/run/here", "/root/here", in: child) == "memory\ndisk")
                // Its memory cannot be had any more; what is on its disk can.
                await DamageTests.expect("damaged", "paused") {
                    _ = try await fixture.node.resume(paused, from: .memory, network: .closed)
                }
                #expect(await fixture.node.sandboxes().first { $0.id == paused }?.state == .paused)
                let booted = try await fixture.node.resume(paused, from: .disk, network: .closed)
                #expect(try await fixture.output(of: "cat", "/root/here", in: booted) == "disk")
                // A damaged snapshot can be removed like any other.
                for id in listed { try await fixture.node.removeSnapshot(id) }
                try await fixture.destroy(child, booted)
                #expect(fixture.list("machines").isEmpty)
            }
        }
    }

    @Test func `pages that rot while the node runs are noticed when they are used`() async throws {
        try await NodeFixture.with { fixture in
            let sandbox = try await fixture.create()
            let snapshot = try await fixture.node.snapshot(sandbox.id, as: SnapshotSpec(id: .random()))
            // It is known to be whole by now, for it was written a moment ago.
            try DamageTests.flip("\(fixture.directory)/snapshots/\(snapshot.id)/pages", at: 0.7)
            let outcome = try await fixture.node.fork(
                .snapshot(snapshot.id), into: [ForkSpec(id: .random(), hostname: "child")])
            await DamageTests.expect("damaged", "pages") { _ = try outcome.children[0].get() }
            #expect(fixture.list("machines").count == 1)
            try await fixture.destroy(sandbox)
        }
    }

    @Test func `captures that do not fit this host are refused with the reason`() async throws {
        let changes: [(name: String, says: String, change: @Sendable (inout SandboxFile) -> Void)] = [
            ("version", "1.2.3.4, and this host has version", { $0.origin.compatibility.version = "1.2.3.4" }),
            ("engine", "captured by other-kvm", { $0.origin.compatibility.engine = "other-kvm" }),
            ("machine", "other devices", { $0.origin.compatibility.machine = "0000" }),
            ("features", "lacks martlet-wings", { $0.origin.compatibility.processorFeatures.append("martlet-wings") }),
            ("clock", "kHz", { $0.origin.compatibility.timeStampKilohertz *= 2 }),
            (
                "isolation", "which is not here",
                { $0.isolation = Isolation(engine: "other", accelerator: "tcg", level: .emulatedVM) }
            ),
        ]
        try await NodeFixture.withDirectory { directory in
            let (snapshots, paused) = try await DamageTests.prepare(directory, changes.map(\.name) + ["same"])
            func edit(_ folder: String, _ change: (inout SandboxFile) -> Void) throws {
                let path = "\(directory)/\(folder)/\(SnapshotManifest.fileName)"
                var manifest = try SnapshotManifest.unseal(path)
                change(&manifest.sandbox)
                try manifest.seal(to: path)
            }
            for item in changes { try edit("snapshots/\(snapshots[item.name]!)", item.change) }
            try edit("snapshots/\(snapshots["same"]!)") { _ in }
            try edit("paused/\(paused)") { $0.origin.compatibility.version = "1.2.3.4" }
            try await NodeFixture.live(in: directory) { fixture in
                #expect(await fixture.node.snapshots().count == changes.count + 1)
                for item in changes {
                    let id = snapshots[item.name]!
                    await DamageTests.expect("incompatible", item.name) { _ = try await fixture.fork(.snapshot(id)) }
                    let error = await #expect(throws: MartletError.self) {
                        try await fixture.fork(.snapshot(id))
                    }
                    #expect(error?.message.contains(item.says) == true, "\(String(describing: error))")
                }
                let child = try await fixture.fork(.snapshot(snapshots["same"]!))[0]
                #expect(try await fixture.output(of: "cat", "/run/here", in: child) == "memory")
                await DamageTests.expect("incompatible", "paused") {
                    _ = try await fixture.node.resume(paused, from: .memory, network: .closed)
                }
                // A disk fits everywhere.
                let booted = try await fixture.node.resume(paused, from: .disk, network: .closed)
                #expect(try await fixture.output(of: "cat", "/root/here", in: booted) == "disk")
                try await fixture.destroy(child, booted)
            }
        }
    }
}
