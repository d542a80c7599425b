extension BenchReport {
    /// What containers do instead of each of our figures. These rows are compared with QEMU in the table, since it has
    /// a machine and its memory to store too; how they stand against a container is a note.
    private static let instead = [
        (ForkBenchmark.pause, Baselines.containerCheckpoint), (PauseBenchmark.pause, Baselines.containerCheckpoint),
        (PauseBenchmark.resume, Baselines.containerRestore), (RestoreBenchmark.create, Baselines.containerRestore),
        (RewindBenchmark.checkpoint, Baselines.containerCheckpoint),
        (RewindBenchmark.rewind, Baselines.containerRestore),
    ]

    /// Says how many times faster we are than a container, by p50, for each figure both sides have.
    mutating func noteComparisons() {
        let said = Self.instead.compactMap { ours, theirs -> String? in
            guard let row = rows.first(where: { $0.name == ours && $0.concurrency == 1 }),
                let other = rows.first(where: { $0.name == theirs && $0.isBaseline }), row.statistics.p50 > 0
            else { return nil }
            return "\(ours): \(Statistics.rounded(other.statistics.p50 / row.statistics.p50))x \(theirs)"
        }
        if !said.isEmpty { notes.append("compared with containers, by p50: " + said.joined(separator: "; ")) }
    }
}
