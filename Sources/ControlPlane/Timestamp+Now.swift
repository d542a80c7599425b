import LinuxSystem
import SandboxModel

extension Timestamp {
    /// The host's wall clock.
    static var now: Timestamp { Timestamp(milliseconds: Clocks.realtimeMilliseconds) }
}
