import MartletAPI
import SandboxModel
import Testing

@testable import MartletCommands

@Suite struct TextTests {
    @Test func controlCharactersOfOthersDoNotReachTheTerminal() {
        #expect(Printable.line("a\u{1B}[2Jb\n\u{7F}\u{9B}") == "a\\x1b[2Jb\\x0a\\x7f\\x9b")
        #expect(Printable.lines("a\n\tb\r") == "a\n\tb\\x0d")
        #expect(Printable.line("exe\u{202E}fdp") == "exe\\x202efdp")
        #expect(Printable.line("schön 🐦") == "schön 🐦")
    }

    @Test func sizesReadAsPeopleExpect() {
        #expect(Format.bytes(0) == "0 B")
        #expect(Format.bytes(1023) == "1023 B")
        #expect(Format.bytes(1536) == "1.50 KiB")
        #expect(Format.bytes(1 << 20) == "1.00 MiB")
        #expect(Format.bytes((1 << 30) - 1) == "1.00 GiB")
        #expect(Format.bytes(.max).hasSuffix("TiB"))
    }

    @Test func timesReadAsPeopleExpect() {
        #expect(Format.age(milliseconds: 4_999) == "4s")
        #expect(Format.age(milliseconds: 200_000) == "3m")
        #expect(Format.age(milliseconds: 9_000_000) == "2h")
        #expect(Format.age(milliseconds: -5) == "0s")
        #expect(Format.clock(milliseconds: 4_000) == "0:04")
        #expect(Format.clock(milliseconds: 3_723_000) == "1:02:03")
        #expect(Format.milliseconds(12.34) == "12.3 ms")
        #expect(Format.milliseconds(4_205) == "4.21 s")
        #expect(Format.decimal(-0.04, 1) == "0.0")
        #expect(Format.decimal(.nan, 1) == "nan")
    }

    @Test func aTableIsAlignedAndHasNoBlanksAtLineEnds() {
        var table = Table(["ID", "STATE", "AGE"])
        table.add(["abcdef", "ok", "1s"])
        table.add(["a\u{1B}", "running", ""])
        #expect(table.text == "ID      STATE    AGE\nabcdef  ok       1s\na\\x1b   running\n")
        table.paint = { column, text in column == 1 ? "<\(text)>" : text }
        #expect(table.text.contains("<ok>       1s"))
    }

    @Test func sandboxesAreShownWithAgeAndExpiry() {
        let sandbox = SandboxResource(
            id: "s1", name: nil, template: "base", state: .running,
            isolation: Isolation(engine: "qemu", accelerator: "tcg", level: .emulatedVM), cpus: 1, memoryMiB: 256,
            diskMiB: 4096, createdAt: Timestamp(milliseconds: 0), expiresAt: Timestamp(milliseconds: 300_000),
            metadata: [:], create: nil)
        let text = SandboxTable.text([sandbox], now: 60_000, colour: false)
        #expect(
            text == """
                ID  NAME  TEMPLATE  STATE    ISOLATION  AGE  EXPIRES
                s1  -     base      running  qemu/tcg   60s  in 4m

                """)
        #expect(SandboxTable.text([sandbox], now: 0, colour: true).contains("\u{1B}[32mrunning\u{1B}[0m"))
    }

    @Test func theSummaryNamesEngineAcceleratorLevelAndTimes() {
        let sandbox = SandboxResource(
            id: "s1", name: nil, template: "base", state: .running,
            isolation: Isolation(engine: "qemu", accelerator: "tcg", level: .emulatedVM), cpus: 1, memoryMiB: 256,
            diskMiB: 4096, createdAt: Timestamp(milliseconds: 0), expiresAt: nil, metadata: [:],
            create: CreateReport(mode: .warm, totalMilliseconds: 12.34, phases: [:]))
        #expect(Summary.line(sandbox, nil) == "qemu, tcg, emulated-vm; created in 12.3 ms (warm)")
    }

    @Test func wordsForTheShellAreQuoted() {
        #expect(EnvCommand.quoted("http://127.0.0.1:7070") == "http://127.0.0.1:7070")
        #expect(EnvCommand.quoted("a b'c$(x)") == "'a b'\\''c$(x)'")
        #expect(EnvCommand.quoted("http://[::1]:1") == "'http://[::1]:1'")
        #expect(EnvCommand.quoted("") == "''")
    }

    @Test func onlyWhatIsNewOfAConsoleIsShown() {
        var tail = ConsoleTail()
        func news(_ text: String) -> String { String(decoding: tail.news(in: Array(text.utf8)), as: UTF8.self) }
        #expect(news("boot\n") == "boot\n")
        #expect(news("boot\n") == "")
        #expect(news("boot\nready\n") == "ready\n")
        // The front was cut away.
        let long = String(repeating: "0123456789\n", count: 40)
        _ = news("boot\nready\n" + long)
        #expect(news(String(("ready\n" + long + "end\n").dropFirst(20))) == "end\n")
        #expect(news("something else") == "something else")
    }

    @Test func aBuildStepIsOneLine() {
        let build = TemplateBuild(
            id: "b", template: "base", state: "running", stage: "packages", stageIndex: 2, stageCount: 5,
            message: "unpacking\u{1B}[2J", elapsedMilliseconds: 61_000, startedAt: Timestamp(milliseconds: 0))
        #expect(
            BuildDisplay.line("base", build, elapsed: 61_000)
                == "template base 1:01 [2/5] packages: unpacking\\x1b[2J")
    }

    @Test func progressShowsPartAmountAndRate() {
        let line = ProgressLine.line(name: "f", done: 512 << 10, total: 1 << 20, seconds: 2)
        #expect(line == "[############............] 50%  512.0 KiB of 1.00 MiB  256.0 KiB/s  f")
        #expect(ProgressLine.line(name: "f", done: 10, total: nil, seconds: 1) == "f  10 B  10 B/s")
    }
}
