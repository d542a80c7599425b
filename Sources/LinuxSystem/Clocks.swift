import CLinux

/// Clock readings without Foundation.
public enum Clocks {
    /// Nanoseconds since an arbitrary start; never steps.
    public static var monotonicNanoseconds: Int64 { clinux_monotonic_ns() }
    /// Nanoseconds since 1970.
    public static var realtimeNanoseconds: Int64 { clinux_realtime_ns() }
    /// Milliseconds since 1970.
    public static var realtimeMilliseconds: Int64 { clinux_realtime_ns() / 1_000_000 }
}

/// Measures named phases of one operation in milliseconds.
public struct Stopwatch: Sendable {
    private let start = Clocks.monotonicNanoseconds
    private var last: Int64
    public private(set) var phases: [String: Double] = [:]

    public init() { last = start }

    /// Ends the phase that began at the last call (or at the start) and names it.
    public mutating func lap(_ name: String) {
        let now = Clocks.monotonicNanoseconds
        phases[name, default: 0] += Double(now - last) / 1e6
        last = now
    }

    /// Milliseconds since the start.
    public var totalMilliseconds: Double { Double(Clocks.monotonicNanoseconds - start) / 1e6 }
}
