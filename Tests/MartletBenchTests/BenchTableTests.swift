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

    @Test func aNoteCannotDriveTheTerminal() {
        #expect(!BenchTable.text(Samples.full).contains("\u{1B}"))
    }
}
