import Foundation
import GuestClient
import GuestProtocol
import SandboxEngine
import SandboxModel
import Synchronization
import Testing

@Suite(.timeLimit(.minutes(2))) struct GuestServiceTests {
    private static func service(
        _ script: String, _ readiness: TemplateService.Readiness?, seconds: Int = 60
    ) -> TemplateService {
        TemplateService(
            name: "web", command: ["/bin/sh", "-c", script], workingDirectory: "/", readiness: readiness,
            readySeconds: seconds)
    }

    private static func temporaryPath() -> String { NSTemporaryDirectory() + "martlet-service-\(UUID().uuidString)" }

    @Test func `a service is waited for by its file, with the template's environment under its own`() async throws {
        try await AgentFixture.with { fixture in
            let file = GuestServiceTests.temporaryPath()
            defer { try? FileManager.default.removeItem(atPath: file) }
            var service = GuestServiceTests.service(
                "sleep 0.2; echo $A $B > \(file).new; mv \(file).new \(file); exec sleep 1000", .file(file))
            service.environment = ["B=own"]
            let steps = Mutex<[String]>([])
            try await fixture.connection.startServices([service], environment: ["A=template", "B=template"]) { step in
                steps.withLock { $0.append(step) }
            }
            #expect(try String(contentsOfFile: file, encoding: .utf8) == "template own\n")
            #expect(steps.withLock { $0 } == ["starting service web"])
        }
    }

    @Test func `a command tells that a service is ready, and leaves no process behind`() async throws {
        try await AgentFixture.with { fixture in
            let file = GuestServiceTests.temporaryPath()
            defer { try? FileManager.default.removeItem(atPath: file) }
            let service = GuestServiceTests.service(
                "sleep 0.2; echo > \(file); exec sleep 1000", .command(["test", "-e", file]))
            try await fixture.connection.startServices([service], environment: [])
            #expect(try await fixture.connection.processes().count == 1)
        }
    }

    @Test func `a service that ends instead is an error with what it said last`() async throws {
        try await AgentFixture.with { fixture in
            let service = GuestServiceTests.service("echo port 80 is taken >&2; exit 3", .port(1))
            let error = await #expect(throws: MartletError.self) {
                try await fixture.connection.startServices([service], environment: [])
            }
            #expect(error?.code == .failedPrecondition)
            #expect(error?.message == "start service: web: it has ended: port 80 is taken\n")
        }
    }

    @Test func `one that is not ready in its time, or is no program, is an error that names it`() async throws {
        try await AgentFixture.with { fixture in
            let late = GuestServiceTests.service("exec sleep 1000", .file("/nowhere"), seconds: 1)
            let error = await #expect(throws: MartletError.self) {
                try await fixture.connection.startServices([late], environment: [])
            }
            #expect(error?.message == "start service: web: it is not ready after 1 s")
            let none = TemplateService(name: "web", command: ["/no/such/program"])
            let other = await #expect(throws: MartletError.self) {
                try await fixture.connection.startServices([none], environment: [])
            }
            #expect(other?.code == .failedPrecondition)
            #expect(other?.message.hasPrefix("start service: web: ") == true)
        }
    }

    @Test func `a thaw passes the gate that a hold has closed`() async throws {
        try await AgentFixture.with { fixture in
            _ = try await fixture.connection.hold()
            try await fixture.connection.thaw(
                Thaw(
                    wallClockNanoseconds: 1, entropy: [1], hostname: "h", machineID: String(repeating: "a", count: 32)))
            _ = try await fixture.connection.ping()
        }
    }
}
