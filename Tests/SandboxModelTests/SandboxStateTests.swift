import SandboxModel
import Testing

@Suite("SandboxState")
struct SandboxStateTests {
    @Test("Nothing leads back from stopped")
    func stoppedIsFinal() {
        #expect(SandboxState.allCases.filter { SandboxState.stopped.canBecome($0) }.isEmpty)
    }

    @Test("Every state but stopped can be stopped, and no state is its own next one")
    func everyStateEnds() {
        for state in SandboxState.allCases where state != .stopped && state != .stopping {
            #expect(state.canBecome(.stopping), "\(state)")
        }
        for state in SandboxState.allCases { #expect(!state.canBecome(state), "\(state)") }
    }

    @Test("Only running leads to pausing, and only paused to resuming")
    func pausing() {
        #expect(SandboxState.allCases.filter { $0.canBecome(.pausing) } == [.running])
        #expect(SandboxState.allCases.filter { $0.canBecome(.resuming) } == [.paused])
    }

    @Test("Stopped and failed hold nothing on the host")
    func liveness() {
        #expect(Set(SandboxState.allCases.filter { !$0.isLive }) == [.stopped, .failed])
    }
}
