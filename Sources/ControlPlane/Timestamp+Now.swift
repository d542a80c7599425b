import LinuxSystem
import SandboxModel

extension Timestamp {
    /// The host's wall clock.
    package static var now: Timestamp { Timestamp(milliseconds: Clocks.realtimeMilliseconds) }
}
