import SandboxModel
import Testing

struct IsolationTests {
    @Test func levelsStandInTheOrderOfTheirStrength() {
        #expect(IsolationLevel.hardwareVM > .userKernel)
        #expect(IsolationLevel.userKernel > .emulatedVM)
        #expect(IsolationLevel.emulatedVM > .process)
        #expect(IsolationLevel.allCases.sorted(by: >) == IsolationLevel.allCases)
        #expect(IsolationLevel.allCases.map(\.rawValue) == ["hardware-vm", "user-kernel", "emulated-vm", "process"])
    }

    @Test func enginesAreAskedForByWhatTheyAreOrByName() throws {
        #expect(try IsolationChoice(parsing: "auto") == .auto)
        #expect(try IsolationChoice(parsing: "microvm") == .microVM)
        #expect(try IsolationChoice(parsing: "process") == .processes)
        #expect(try IsolationChoice(parsing: "gvisor") == .engine("gvisor"))
        #expect(try IsolationChoice(parsing: "firecracker") == .engine("firecracker"))
        #expect(try IsolationChoice(parsing: "qemu") == .microVM)
        for bad in ["", "../qemu", "Qemu", "a b"] {
            #expect(throws: MartletError.self) { try IsolationChoice(parsing: bad) }
        }
    }

    @Test func enginesAreCalledByWhatClientsAskFor() throws {
        for name in ["microvm", "firecracker", "gvisor", "process"] {
            guard case .engine(let engine) = try IsolationChoice(parsing: name) else {
                Issue.record("\(name) is no engine")
                continue
            }
            #expect(IsolationChoice.usualName(of: engine) == name)
        }
    }

    @Test func whatAnEngineCannotDoNamesItAndTheWayOut() {
        let error = MartletError.unsupported(.fork, "fork", "s1", engine: "gvisor")
        #expect(error.code == .unsupported)
        #expect(error.message.contains("gvisor") && error.message.contains("'microvm'"))
        #expect(error.details["capability"] == "fork")
    }
}
