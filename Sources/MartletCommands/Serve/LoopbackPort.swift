import CLinux

/// Ports of this machine.
enum LoopbackPort {
    /// Whether a server could listen at 127.0.0.1 and this port now.
    static func isFree(_ port: Int) -> Bool {
        guard let number = UInt16(exactly: port) else { return false }
        return clinux_loopback_port_is_free(number) == 1
    }
}
