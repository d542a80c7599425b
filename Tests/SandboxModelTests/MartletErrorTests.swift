import SandboxModel
import Testing

@Suite("MartletError")
struct MartletErrorTests {
    @Test("Every code has an HTTP status of its own")
    func statuses() {
        let statuses = MartletError.Code.allCases.map(\.httpStatus)
        #expect(Set(statuses).count == statuses.count)
        #expect(statuses.allSatisfy { (400..<600).contains($0) })
    }

    @Test("The CLI's exit code tells a time-out from every other failure of ours")
    func exitCodes() {
        #expect(MartletError.Code.timeout.exitCode == 124)
        #expect(MartletError.Code.allCases.filter { $0 != .timeout }.allSatisfy { $0.exitCode == 125 })
    }

    @Test("An argument's error names the field in text and details")
    func invalid() {
        let error = MartletError.invalid("cpus", "0 is outside 1...16")
        #expect(error.code == .invalidArgument)
        #expect(error.message == "cpus: 0 is outside 1...16")
        #expect(error.details == ["field": "cpus"])
    }
}
