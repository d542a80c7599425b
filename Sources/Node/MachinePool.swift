/// What is ready for one image.
struct MachinePool: Sendable {
    var shells: [SpareMachine] = []
    var warm: [SpareMachine] = []
    /// How many shells the latest forks could have used, and until when that is expected to happen again.
    var expectedForks: (count: Int, until: Int64) = (0, 0)
    /// What the latest warm guest of this image was found to hold, in MiB: what the next one will.
    var warmCostMiB = PoolConfiguration.warmCostMiB

    /// Shells worth having now.
    func wantedShells(_ configured: Int, now: Int64) -> Int {
        now < expectedForks.until ? max(configured, expectedForks.count) : configured
    }

    /// Host memory held, in MiB.
    var costMiB: Int { (shells + warm).reduce(0) { $0 + $1.costMiB } }
}
