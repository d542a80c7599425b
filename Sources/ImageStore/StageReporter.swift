import LinuxSystem

/// Tells a caller about one stage of a build.
struct StageReporter: Sendable {
    let stage: String
    let index: Int
    let count: Int
    let start: Int64
    let progress: @Sendable (BuildProgress) -> Void

    func report(_ message: String, fraction: Double? = nil) {
        progress(
            BuildProgress(
                stage: stage, index: index, count: count, message: message, fraction: fraction,
                elapsedMilliseconds: Double(Clocks.monotonicNanoseconds - start) / 1e6))
    }
}
