import ContainerEngine
import Foundation
import Glibc
import LinuxSystem
import Logging
import NIOPosix
import SandboxEngine
import SandboxModel
import Testing

@testable import GVisorEngine

private enum Installed {
    static let runsc = "/usr/bin/runsc"
    static let agent =
        URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent().path + "/libexec/martlet-guest"
    static var isComplete: Bool { geteuid() == 0 && access(runsc, X_OK) == 0 && access(agent, X_OK) == 0 }
}

/// What is found out about a runsc before anything is promised of it; with the real one.
@Suite(.serialized, .enabled(if: Installed.isComplete, "runsc is not installed, or this is not root"))
struct GVisorProbeTests {
    private func withEngine(
        refusing verb: String?, _ body: (GVisorEngine) async throws -> Void
    ) async throws {
        let directory = NSTemporaryDirectory() + "martlet-gv-\(UUID().uuidString.prefix(8))"
        try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
        defer {
            try? FileManager.default.removeItem(atPath: directory)
            (try? ControlGroupParent.make("martlet-gv-probe"))?.remove()
        }
        var program = Installed.runsc
        if let verb {
            // As a version would that has the verb, and cannot.
            program = "\(directory)/runsc"
            let script = """
                #!/bin/sh
                for word; do
                  [ "$word" = \(verb) ] && { echo "\(verb) failed: not in this version" >&2; exit 128; }
                done
                exec \(Installed.runsc) "$@"

                """
            try script.write(toFile: program, atomically: false, encoding: .utf8)
            chmod(program, 0o755)
        }
        let host = ContainerHost(
            configuration: .init(
                directory: "\(directory)/containers", groups: "martlet-gv-probe", agent: Installed.agent),
            logger: Logger(label: "test"), group: MultiThreadedEventLoopGroup.singleton)
        try await body(GVisorEngine(host: host, programs: [program]))
        #expect(try FileManager.default.contentsOfDirectory(atPath: "\(directory)/containers").count == 1)
    }

    @Test func `captures are claimed once a container was captured and went on from that`() async throws {
        try await withEngine(refusing: nil) { engine in
            #expect(!engine.capabilities.contains(.fork))
            let report = await engine.inspect()
            #expect(report.isAvailable)
            #expect(report.reason.contains("went on from that"), "\(report.reason)")
            #expect(engine.capabilities == [.diskGrowth, .fork, .network, .pause, .snapshots])
        }
    }

    @Test(arguments: ["checkpoint", "restore"])
    func `where runsc cannot, captures are not claimed, and the report says why`(_ verb: String) async throws {
        try await withEngine(refusing: verb) { engine in
            let report = await engine.inspect()
            // Sandboxes work all the same.
            #expect(report.isAvailable)
            #expect(report.reason.contains("\(verb) failed: not in this version"), "\(report.reason)")
            #expect(engine.capabilities == [.diskGrowth, .network])
            let refusal = #expect(throws: MartletError.self) {
                try engine.require(.snapshots, "snapshot", "one")
            }
            #expect(refusal?.code == .unsupported)
        }
    }
}

struct GVisorReasonTests {
    @Test func `of what runsc says the reason is kept`() {
        let said = """
            checkpoint failed: checkpointing container "sandbox": encoding error: gofer.dentry("var/tmp/x").beforeSave: deleted and invalidated dentries can't be restored:
            goroutine 47 [running]:
            """
        #expect(
            GVisorCommand.reason(said)
                == "gofer.dentry(\"var/tmp/x\").beforeSave: deleted and invalidated dentries can't be restored")
        #expect(GVisorCommand.reason("cannot pause container \"sandbox\" in state stopped").contains("state stopped"))
        #expect(GVisorCommand.reason("") == "it does not say why")
        #expect(GVisorCommand.reason(String(repeating: "x", count: 5000)).count == 300)
    }

    @Test func `a refusal says what to do about it`() {
        let open = GVisorCapture.refusal(
            "gofer.dentry(\"a\").beforeSave: deleted and invalidated dentries can't be restored")
        #expect(open.code == .failedPrecondition)
        #expect(open.message.contains("close it"))
        let connected = GVisorCapture.refusal(
            "save rejected due to unsupported networking state: endpoint cannot be saved in connected state: local a, remote b"
        )
        #expect(connected.message.contains("close them"))
        #expect(connected.details["reason"] == "unsavable")
        #expect(GVisorCapture.refusal("something else").message.hasSuffix("something else"))
    }
}
