import ArgumentParser
import MartletClient
import Testing

@testable import MartletBench
@testable import MartletCommands

@Suite struct BenchParsingTests {
    private func parse<Command: ParsableCommand>(_ arguments: String..., as: Command.Type) throws -> Command {
        try #require(try MartletCommand.parseAsRoot(["bench"] + arguments) as? Command)
    }

    @Test func withoutOptionsItIsWhatTheSpecificationMeasures() throws {
        let create = try parse("create", as: BenchCreateCommand.self)
        #expect(create.concurrency.levels == [1, 4, 16] && create.churn == 200 && create.runs == 50)
        #expect(create.options.template == "base" && create.options.baseline && create.options.url == nil)
        #expect(try parse("exec", as: BenchExecCommand.self).concurrency.levels == [1, 4, 16])
        #expect(try parse("density", as: BenchDensityCommand.self).count == 100)
        #expect(try parse("files", as: BenchFilesCommand.self).size == nil)
        #expect(BenchFilesCommand.defaultSizeMiB == 256)
        let fork = try parse("fork", as: BenchForkCommand.self)
        #expect(fork.children.counts == [1, 4, 16, 64] && fork.runs == 20)
        #expect(try parse("pause", as: BenchPauseCommand.self).runs == 20)
        #expect(try parse("restore", as: BenchRestoreCommand.self).concurrency.levels == [1, 4])
        #expect(try parse("rewind", as: BenchRewindCommand.self).runs == 30)
    }

    @Test func optionsAreTaken() throws {
        let create = try parse(
            "create", "-n", "7", "--concurrency", "2,8,2", "--churn", "0", "-T", "other", "--no-baseline", "-o", "json",
            as: BenchCreateCommand.self)
        #expect(create.runs == 7 && create.concurrency.levels == [2, 8] && create.churn == 0)
        #expect(create.options.template == "other" && !create.options.baseline)
        #expect(create.options.output.format == .json)
        #expect(try parse("files", "--size", "1g", as: BenchFilesCommand.self).size?.count == 1024)
    }

    @Test(arguments: ["", "0", "25", "1,", ",1", "1,x", "-1", "1 4"])
    func aListOfNumbersThatIsNoneIsRefused(text: String) {
        #expect(ConcurrencyArgument(argument: text) == nil)
        #expect(throws: (any Error).self) { try parse("exec", "--concurrency", text, as: BenchExecCommand.self) }
    }

    @Test func aForkMakesNoMoreChildrenThanTheServerAllows() throws {
        #expect(try parse("fork", "--children", "64,2,64", as: BenchForkCommand.self).children.counts == [64, 2])
        for text in ["", "0", "65", "1,", "1;2"] {
            #expect(throws: (any Error).self) { try parse("fork", "--children", text, as: BenchForkCommand.self) }
        }
    }

    @Test func numbersOutOfRangeAreRefused() {
        #expect(throws: (any Error).self) { try parse("create", "--churn", "-1", as: BenchCreateCommand.self) }
        #expect(throws: (any Error).self) { try parse("density", "-n", "0", as: BenchDensityCommand.self) }
        #expect(throws: (any Error).self) { try parse("files", "--size", "0", as: BenchFilesCommand.self) }
        #expect(throws: (any Error).self) { try parse("files", "--small-files", "-1", as: BenchFilesCommand.self) }
    }

    @Test func ourOwnSettingsDoNotReachTheDaemonsThatAreMeasured() {
        let environment = [
            "PATH": "/bin", "MARTLET_NO_POOL": "1", "MARTLET_POOL_WARM": "9", "MARTLET_DATA": "/d",
            "MARTLET_URL": "http://h",
            "MARTLET_TEMPLATES": "/t", "MARTLET_GUEST_AGENT": "/g", "MARTLET_NO_KVM": "1",
        ]
        #expect(
            BenchOptions.withoutOurSettings(environment) == [
                "PATH": "/bin", "MARTLET_TEMPLATES": "/t", "MARTLET_GUEST_AGENT": "/g", "MARTLET_NO_KVM": "1",
            ])
    }

    @Test func imagesComeFromTheOptionTheEnvironmentOrTheDataDirectory() throws {
        func images(_ arguments: [String], _ environment: [String: String]) throws -> String {
            try BenchOptions.parse(arguments).context(runs: 1, environment: environment) { _ in }.images
        }
        #expect(try images(["--images", "/o"], ["MARTLET_IMAGES": "/e"]) == "/o")
        #expect(try images([], ["MARTLET_IMAGES": "/e", "MARTLET_DATA": "/d"]) == "/e")
        #expect(try images([], ["MARTLET_DATA": "/d"]) == "/d/images")
    }

    @Test func aServerWithAnAddressIsMeasuredAsItIs() throws {
        let context = try BenchOptions.parse(["--url", "http://127.0.0.1:9"]).context(runs: 1, environment: [:]) { _ in
        }
        guard case .running(let configuration) = context.target else {
            Issue.record("a daemon of its own would be started")
            return
        }
        #expect(configuration.endpoint.description == "http://127.0.0.1:9")
        #expect(context.environment["MARTLET_URL"] == "http://127.0.0.1:9")
        #expect(throws: (any Error).self) {
            try BenchOptions.parse(["--url", "nonsense"]).context(runs: 1, environment: [:]) { _ in }
        }
    }

    @Test func aPoolIsToldToTheDaemonInItsOwnSettings() {
        #expect(BenchContext.Pool.standard.environment.isEmpty)
        #expect(BenchContext.Pool.warm(4).environment == ["MARTLET_POOL_WARM": "4", "MARTLET_POOL_SHELLS": "0"])
        #expect(BenchContext.Pool.shells(4).environment == ["MARTLET_POOL_WARM": "0", "MARTLET_POOL_SHELLS": "4"])
        #expect(BenchContext.Pool.none.environment == ["MARTLET_NO_POOL": "1"])
    }
}
