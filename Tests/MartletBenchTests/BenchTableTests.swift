import Testing

@testable import MartletBench
@testable import MartletCommands

@Suite struct BenchTableTests {
    @Test func everythingInTheReportIsShown() {
        let text = BenchTable.text(Samples.full)
        for part in [
            "2 processors, Example 9000, 24.0 GiB, Linux 6.1.0", "qemu 10.0.2, tcg", "200x raw boot", "(raw boot)",
            "thaw", "daemon: descriptors", "FAILS", "note: a note",
        ] {
            #expect(text.contains(part), "\(part)")
        }
    }

    @Test func whatIsNotThereTakesNoRoom() {
        let text = BenchTable.text(Samples.report)
        for part in ["PHASE", "GROWTH", "CHECK", "note:"] { #expect(!text.contains(part)) }
    }

    @Test func aPromiseThatIsMissedDoesNotLookLikeAFailure() {
        var report = Samples.report
        report.add(BenchRow("fork", [100]))
        report.promise("fork, p50", of: "fork", atMost: 90)
        let text = BenchTable.text(report)
        #expect(text.contains("fork, p50 <= 90 ms") && text.contains("missed") && !text.contains("FAILS"))
    }

    @Test func aNoteCannotDriveTheTerminal() {
        #expect(!BenchTable.text(Samples.full).contains("\u{1B}"))
    }
}
