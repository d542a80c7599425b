import CLinux
import Glibc
import LinuxSystem

/// All programs the agent started and what they started, stopped and let go as one.
///
/// A capture is taken while they are held, so that what is restored from it runs none of their code before it has been
/// made its own. Through the kernel's freezer, since a program can neither see nor refuse it; with both of its files
/// held open, since a fork waits for this.
final class HeldPrograms {
    private let freeze: Descriptor
    private let events: Descriptor
    /// Whether they are held, or being brought to a halt.
    private(set) var areHeld = false
    private var isUrgent = false

    /// - Parameter path: the control group below which every program lives.
    /// - Returns: nil where it cannot be frozen.
    init?(controlGroup path: String) {
        guard let freeze = try? Descriptor.open(path + "/cgroup.freeze", O_WRONLY),
            let events = try? Descriptor.open(path + "/cgroup.events", O_RDONLY)
        else { return nil }
        self.freeze = freeze
        self.events = events
    }

    /// Stops every program; true once all stand still.
    func hold(timeoutMilliseconds: UInt32) -> Bool {
        areHeld = true
        guard clinux_cgroup_freeze(freeze.number, events.number, timeoutMilliseconds) == 1 else { return false }
        // A copy wakes up with work that the kernel has put off. Under emulation all of it is code that runs for the
        // first time, and none of it need be done before the thaw.
        isUrgent = clinux_set_urgent(1) == 0
        return true
    }

    /// Ends the precedence that holding has given the agent, once nothing is held and everything is answered.
    func settle() {
        guard isUrgent, !areHeld else { return }
        isUrgent = clinux_set_urgent(0) != 0
    }

    /// Lets them go on; returns at once, and does nothing when none is held.
    func release() {
        guard areHeld else { return }
        areHeld = clinux_cgroup_thaw(freeze.number) < 0
    }
}
