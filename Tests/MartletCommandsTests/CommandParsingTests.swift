import ArgumentParser
import MartletAPI
import Testing

@testable import MartletCommands

@Suite struct CommandParsingTests {
    private func run(_ arguments: String...) throws -> RunCommand {
        try #require(try MartletCommand.parseAsRoot(["run"] + arguments) as? RunCommand)
    }

    @Test func runTakesDockersOptions() throws {
        let command = try run(
            "-T", "base", "--name", "n", "--cpus", "2", "--memory", "1g", "--disk", "8G", "-e", "A=1", "-e", "B=",
            "-m", "k=v", "--timeout", "1.5m", "-u", "nobody", "-w", "/tmp", "-it", "--keep", "--summary", "--", "echo",
            "-n", "--", "x")
        let request = try command.sandboxOptions.request(timeout: 300)
        #expect(request.template == "base")
        #expect(request.name == "n")
        #expect(request.cpus == 2)
        #expect(request.memoryMiB == 1024)
        #expect(request.diskMiB == 8192)
        #expect(request.metadata == ["k": "v"])
        #expect(request.timeoutSeconds == 300)
        let program = command.program.request(["true"])
        #expect(program.env?["A"] == "1")
        #expect(program.env?["B"] == "")
        #expect(program.timeoutSeconds == 90)
        #expect(program.user == "nobody")
        #expect(program.cwd == "/tmp")
        #expect(command.program.tty && command.program.interactive && command.keep && command.rm && command.summary)
        #expect(try CommandWords.parse(command.command, of: RunCommand.self) == ["echo", "-n", "--", "x"])
    }

    @Test func theCommandMayComeWithoutDashes() throws {
        let command = try run("--cpus", "1", "python3", "-c", "print(1)", "--version")
        #expect(
            try CommandWords.parse(command.command, of: RunCommand.self)
                == ["python3", "-c", "print(1)", "--version"])
    }

    @Test func anUnknownOptionIsNotTakenForACommand() {
        #expect(throws: (any Error).self) { try run("--bogus", "--", "true") }
        #expect(throws: (any Error).self) { try run("-x", "true") }
    }

    @Test func helpIsHelpAndNoCommand() {
        for flag in ["-h", "--help"] {
            do {
                _ = try run(flag)
                Issue.record("\(flag) was parsed")
            } catch {
                #expect(MartletCommand.exitCode(for: error) == .success)
                #expect(MartletCommand.fullMessage(for: error).contains("martlet run [options]"))
            }
        }
    }

    @Test func execKeepsEverythingBehindTheSandbox() throws {
        let parsed = try MartletCommand.parseAsRoot(["exec", "-e", "A=1", "box", "--", "env", "--help"])
        let command = try #require(parsed as? ExecCommand)
        #expect(command.sandbox == "box")
        #expect(try CommandWords.parse(command.command, of: ExecCommand.self) == ["env", "--help"])
        #expect(throws: (any Error).self) { try MartletCommand.parseAsRoot(["exec", "box"]) }
    }

    @Test func removeNeedsIdsOrAllButNotBoth() throws {
        _ = try MartletCommand.parseAsRoot(["rm", "a", "b"])
        _ = try MartletCommand.parseAsRoot(["rm", "--all"])
        #expect(throws: (any Error).self) { try MartletCommand.parseAsRoot(["rm"]) }
        #expect(throws: (any Error).self) { try MartletCommand.parseAsRoot(["rm", "--all", "a"]) }
    }

    @Test func everyVerbOfTheContractIsThere() {
        let words = Set(MartletCommand.helpMessage().split { $0 == " " || $0 == "," || $0 == "\n" }.map(String.init))
        let contract = [
            "run", "create", "exec", "shell", "ls", "get", "cp", "rm", "template", "logs", "metrics", "serve", "env",
            "doctor", "version", "completion", "pause", "resume", "snapshot", "fork", "tree", "rewind",
            "network",
        ]
        #expect(Set(contract).subtracting(words).isEmpty)
    }

    @Test(arguments: [("512", 512), ("512m", 512), ("2g", 2048), ("1GiB", 1024), ("3MB", 3)])
    func sizesAreMebibytes(text: String, count: Int) {
        #expect(MebibytesArgument(argument: text)?.count == count)
    }

    @Test(arguments: ["", "g", "-1", "1.5g", "1t", "9999999999999999999", "9223372036854775807g", "١"])
    func sizesThatAreNoneAreRefused(text: String) {
        #expect(MebibytesArgument(argument: text) == nil)
    }

    @Test(arguments: [("90", 90.0), ("90s", 90), ("1.5m", 90), ("2h", 7200), ("1d", 86_400), ("0.5", 0.5)])
    func timesAreSeconds(text: String, seconds: Double) {
        #expect(SecondsArgument(argument: text)?.seconds == seconds)
    }

    @Test(arguments: ["", "s", "-5", "1e9", "inf", "nan", "1w", "99999999999999d", "1.2.3"])
    func timesThatAreNoneAreRefused(text: String) {
        #expect(SecondsArgument(argument: text) == nil)
    }

    @Test func aVariableWithoutValueTakesOurs() throws {
        let variables = try ["A=x=y", "HERE", "GONE", "E="].map { try #require(VariableArgument(argument: $0)) }
        #expect(variables.resolved(from: ["HERE": "1"]) == ["A": "x=y", "HERE": "1", "E": ""])
        #expect(VariableArgument(argument: "=x") == nil)
        #expect([VariableArgument]().resolved() == nil)
    }

    @Test func metadataNeedsAValue() throws {
        let command = try run("-m", "alone", "--", "true")
        #expect(throws: ValidationError.self) { try command.sandboxOptions.request(timeout: nil) }
    }
}
