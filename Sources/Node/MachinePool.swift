/// What is ready for one image.
struct MachinePool: Sendable {
    var shells: [SpareMachine] = []
    var warm: [SpareMachine] = []
    /// Being made now; they count, so that two refills do not overshoot.
    var isFilling = false

    /// Host memory held, in MiB, as accounted (see `PoolConfiguration`).
    var costMiB: Int {
        shells.count * PoolConfiguration.shellCostMiB + warm.count * PoolConfiguration.warmCostMiB
    }
}
