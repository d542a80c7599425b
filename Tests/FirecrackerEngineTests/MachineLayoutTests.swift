import SandboxModel
import Testing

@testable import FirecrackerEngine

@Suite struct MachineLayoutTests {
    private func words(card: Bool) throws -> [Substring] {
        MachineLayout(shape: try MachineShape(cpus: 1, memoryMiB: 256), hasNetworkCard: card).kernelCommandLine
            .split(separator: " ")
    }

    @Test func theAgentIsToldWhereToListen() throws {
        #expect(try words(card: false).contains("martlet.vsock=1025"))
        #expect(try words(card: true).contains("martlet.vsock=1025"))
    }

    @Test func onlyACardHasAnAddress() throws {
        #expect(try !words(card: false).contains { $0.hasPrefix("martlet.address=") })
        #expect(try words(card: true).contains("martlet.address=192.0.0.2/30"))
        #expect(try words(card: true).contains("martlet.gateway=192.0.0.1"))
    }

    @Test func theMachineEndsByARestart() throws {
        #expect(try Set(words(card: false)).isSuperset(of: ["reboot=k", "panic=-1", "rdinit=/init"]))
    }

    @Test func whatShapesAMachineIsInItsDescription() throws {
        let shapes = try [(1, 256), (2, 256), (1, 512)].map { try MachineShape(cpus: $0.0, memoryMiB: $0.1) }
        let all = shapes.flatMap { shape in
            [true, false].map { MachineLayout(shape: shape, hasNetworkCard: $0).description }
        }
        #expect(Set(all).count == 6)
    }

    @Test func namesOfMachinesAreTakenByTheJailer() {
        #expect(FirecrackerProcess.id(of: "/data/node/machines/m0123abc") == "m0123abc")
        for odd in ["/data/b0.new", "/a/under_score", "/", "/" + String(repeating: "x", count: 80)] {
            #expect(JailerArguments.isID(FirecrackerProcess.id(of: odd)))
        }
        #expect(FirecrackerProcess.id(of: "/a/x.y") != FirecrackerProcess.id(of: "/b/x.y"))
    }
}
