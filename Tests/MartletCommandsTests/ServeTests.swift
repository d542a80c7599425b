import ArgumentParser
import FoundationEssentials
import Glibc
import LinuxSystem
import Logging
import MartletClient
import SandboxModel
import Server
import Testing

@testable import MartletCommands

@Suite struct ServeTests {
    private func settings(_ arguments: [String] = [], _ environment: [String: String] = [:]) throws -> ServeSettings {
        try ServeSettings(try ServeCommand.parse(arguments), environment: environment)
    }

    @Test func optionsComeBeforeTheEnvironmentAndThatBeforeDefaults() throws {
        let standard = try settings([], ["MARTLET_DATA": "/d"])
        #expect(standard.data.path == "/d")
        #expect(standard.images == "/d/images")
        #expect((standard.host, standard.port) == ("127.0.0.1", 7070))
        #expect(!standard.isAddressGiven && standard.poolEnabled && !standard.stopsSandboxes && standard.allowsKVM)
        let environment = [
            "MARTLET_DATA": "/d", "MARTLET_LISTEN": "127.0.0.1:1", "MARTLET_MAX_SANDBOXES": "7", "MARTLET_NO_POOL": "1",
            "MARTLET_IMAGES": "/i", "MARTLET_LOG_LEVEL": "debug", "MARTLET_LOG_FORMAT": "json",
        ]
        let given = try settings([], environment)
        #expect(given.port == 1 && given.isAddressGiven && given.maxSandboxes == 7 && !given.poolEnabled)
        #expect(given.images == "/i" && given.logLevel == .debug && given.logFormat == .json)
        let both = try settings(["--data", "/e", "--listen", "[::1]:2", "--max-sandboxes", "8"], environment)
        #expect(both.data.path == "/e" && both.host == "::1" && both.port == 2 && both.maxSandboxes == 8)
    }

    @Test(arguments: ["0.0.0.0:1", "192.168.1.1:80", "[::]:1", "example.com:1", "127.0.0.1.example.com:1", "127.1:1"])
    func anAddressOthersCanReachNeedsASecondWord(address: String) throws {
        #expect(throws: MartletError.self) { try settings(["--listen", address]) }
        _ = try settings(["--listen", address, "--allow-remote"])
    }

    @Test(arguments: ["", "1", "host", "host:", ":1", "host:65536", "host:-1", "::1:80", "a:b:1"])
    func anAddressThatIsNoneIsRefused(address: String) {
        #expect(throws: MartletError.self) { try ServeSettings.address(address) }
    }

    @Test func theDomainOfPublishedPortsIsLocalhostUnlessToldOtherwise() throws {
        #expect(try settings().domain == .standard)
        #expect(
            try settings(["--domain", "https://p.example.com"]).domain
                == PreviewDomain(parsing: "https://p.example.com"))
        #expect(try settings([], ["MARTLET_DOMAIN": "p.example.com"]).domain == PreviewDomain(parsing: "p.example.com"))
        #expect(throws: MartletError.self) { try settings(["--domain", "not a domain"]) }
    }

    @Test func numbersOutOfRangeAreRefusedByName() {
        let error = #expect(throws: MartletError.self) { try settings([], ["MARTLET_POOL_WARM": "65"]) }
        #expect(error?.message.contains("pool-warm") == true)
        #expect(throws: MartletError.self) { try settings([], ["MARTLET_MAX_SANDBOXES": "many"]) }
        #expect(throws: MartletError.self) { try settings(["--max-sandboxes", "0"]) }
        #expect(throws: MartletError.self) { try settings([], ["MARTLET_LOG_LEVEL": "loud"]) }
    }

    private func event(_ message: Logger.Message, _ metadata: Logger.Metadata?) -> LogEvent {
        LogEvent(
            level: .info, message: message, metadata: metadata, source: "s", file: "f", function: "f", line: 1)
    }

    @Test func jsonLogLinesAreOneObjectEachWhateverIsInThem() throws {
        var handler = JSONLogHandler(logLevel: .info, label: "martlet")
        handler[metadataKey: "a"] = "logger"
        let line = handler.line(
            event("hi \"there\"\n\u{1B}", ["a": "own", "level": "x", "é": "ü\\"]), time: "T")
        #expect(!line.contains("\n"))
        let object = try JSONDecoder().decode([String: String].self, from: Data(line.utf8))
        #expect(
            object == [
                "time": "T", "level": "info", "logger": "martlet", "message": "hi \"there\"\n\u{1B}", "a": "own",
                "metadata.level": "x", "é": "ü\\",
            ])
        #expect(line.hasPrefix("{\"time\":\"T\",\"level\":\"info\""))
    }

    @Test func textLogLinesAreSafeForATerminal() {
        let handler = TextLogHandler(logLevel: .info, hasColour: false)
        let line = handler.line(event("sandbox\u{1B}[2J made", ["id": "s1", "why": "a b"]), time: "12:00")
        #expect(line == "12:00 info     sandbox\\x1b[2J made  id=s1 why=\"a b\"")
    }

    @Test func oneDaemonHasADirectoryAndTheNextWaitsForItsEnd() throws {
        let directory = try TemporaryDirectory()
        let data = DataDirectory(path: directory.path + "/data")
        let first = try DaemonLocks.take(data, isStartLockInherited: false)
        first.started()
        let error = #expect(throws: MartletError.self) { try DaemonLocks.take(data, isStartLockInherited: false) }
        #expect(error?.code == .conflict)
        first.release()
        try DaemonLocks.take(data, isStartLockInherited: false).release()
        var facts = stat()
        #expect(stat(data.path, &facts) == 0 && facts.st_mode & 0o777 == 0o700)
    }

    @Test func theDaemonFileComesBackAsItWasWritten() throws {
        let directory = try TemporaryDirectory()
        let data = DataDirectory(path: directory.path)
        #expect(DaemonFile.read(data) == nil)
        try DaemonFile(pid: 7, url: "http://127.0.0.1:1", version: "x").write(data)
        #expect(DaemonFile.read(data)?.url == "http://127.0.0.1:1")
        #expect(!DaemonLauncher(data: data, environment: [:]).isListening())
    }

    @Test func theInstallationIsTheNearestFolderWithTemplates() throws {
        let directory = try TemporaryDirectory()
        for folder in ["", "/templates", "/bin", "/bin/deep"] { mkdir(directory.path + folder, 0o700) }
        let found = Installation(environment: [:], executable: directory.path + "/bin/deep/martlet")
        #expect(found.root == directory.path)
        #expect(found.templates == directory.path + "/templates")
        #expect(found.guestAgent == directory.path + "/libexec/martlet-guest")
        let told = Installation(
            environment: ["MARTLET_TEMPLATES": "/t", "MARTLET_GUEST_AGENT": "/g"], executable: "/nowhere/martlet")
        #expect(told.root == nil && told.templates == "/t" && told.guestAgent == "/g")
    }

    @Test func aMissingRequirementMakesDoctorFail() {
        var report = DoctorReport(
            checks: [.init("a", .ok, "fine"), .init("b", .warning, "slow", fix: "buy")], daemonRunning: false,
            dataDirectory: "/d", log: "/d/daemon.log")
        #expect(report.isHealthy)
        report.checks.append(.init("c", .missing, "gone", fix: "install"))
        #expect(!report.isHealthy)
        #expect(report.text(colour: false).contains("missing  c  gone\n"))
        #expect(report.text(colour: false).contains("→ install"))
    }
}
