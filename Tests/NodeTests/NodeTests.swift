import Foundation
import GuestClient
import GuestProtocol
import Node
import SandboxModel
import Testing

@Suite(.serialized, .requiresTemplate, .timeLimit(.minutes(5))) struct NodeTests {
    @Test func `a sandbox runs a program in a kernel of its own`() async throws {
        try await NodeFixture.with { fixture in
            let sandbox = try await fixture.create()
            #expect(try await fixture.output(of: "python3", "-c", "print(sum(range(100)))", in: sandbox) == "4950")
            let host = try String(contentsOfFile: "/proc/sys/kernel/osrelease", encoding: .utf8)
            #expect(try await fixture.output(of: "uname", "-r", in: sandbox) != host.dropLast())
            try await fixture.node.destroy(sandbox.id)
            #expect(await fixture.node.sandboxes().isEmpty)
        }
    }
}
