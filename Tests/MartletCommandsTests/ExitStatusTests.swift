import MartletAPI
import SandboxModel
import Testing

@testable import MartletCommands

@Suite struct ExitStatusTests {
    private func code(_ exitCode: Int32, signal: String? = nil, timedOut: Bool = false) -> Int32 {
        ExitStatus.code(
            for: ProcessExitResource(
                exitCode: exitCode, signal: signal, timedOut: timedOut, durationMilliseconds: 1, cpuMilliseconds: 1,
                maxResidentBytes: 1, outputBytes: 0))
    }

    @Test func aProgramsCodeIsPassedOn() {
        #expect(code(0) == 0)
        #expect(code(77) == 77)
        #expect(code(125) == 125)
    }

    @Test func aSignalIs128AndItsNumber() {
        #expect(code(137, signal: "SIGKILL") == 137)
        #expect(code(0, signal: "SIGTERM") == 143)
        #expect(code(162, signal: "SIG34") == 162)
    }

    @Test func aTimeOutIs124WhateverKilledIt() {
        #expect(code(137, signal: "SIGKILL", timedOut: true) == 124)
    }

    @Test func failuresToStartAreToldApartAsInDocker() {
        let missing = MartletError(.invalidArgument, "x", details: ["reason": "command_not_found"])
        let refused = MartletError(.invalidArgument, "x", details: ["reason": "not_executable"])
        #expect(ExitStatus.code(for: missing) == 127)
        #expect(ExitStatus.code(for: refused) == 126)
        #expect(ExitStatus.code(for: MartletError(.timeout, "x")) == 124)
        for other in MartletError.Code.allCases where other != .timeout {
            #expect(ExitStatus.code(for: MartletError(other, "x")) == 125)
        }
    }
}
