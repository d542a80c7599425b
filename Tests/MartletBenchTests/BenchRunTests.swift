import ArgumentParser
import FoundationEssentials
import Glibc
import LinuxSystem
import Testing

@testable import MartletBench
@testable import MartletCommands

/// The images that the tests share, since they are only read.
private enum BuiltTemplate {
    static var repository: String { #filePath.split(separator: "/").dropLast(3).reduce("") { "\($0)/\($1)" } }

    static var images: String {
        let given = Session.environment["MARTLET_TEST_IMAGES"] ?? ""
        return given.isEmpty ? repository + "/.cache/images" : given
    }

    static var isThere: Bool { access(images + "/templates/base.json", F_OK) == 0 }
}

/// The built program on real machines; it needs the template to be built.
@Suite(.serialized, .timeLimit(.minutes(5)), .enabled(if: BuiltTemplate.isThere, "template base is not built"))
struct BenchRunTests {
    /// Starts `martlet bench` with a temporary directory of its own, which shows what it leaves behind.
    private func start(_ arguments: [String], in directory: String) throws -> ProcessHandle {
        let folder = Installation.runningExecutable.split(separator: "/").dropLast().joined(separator: "/")
        let program = "/\(folder)/martlet"
        let environment = [
            "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "TMPDIR=\(directory)/tmp", "MARTLET_DATA=\(directory)/data",
            "MARTLET_IMAGES=\(BuiltTemplate.images)", "MARTLET_TEMPLATES=\(BuiltTemplate.repository)/templates",
            "MARTLET_GUEST_AGENT=\(BuiltTemplate.repository)/libexec/martlet-guest",
        ]
        let (output, errors) = (
            try Descriptor.open(directory + "/out", O_WRONLY | O_CREAT),
            try Descriptor.open(directory + "/err", O_WRONLY | O_CREAT)
        )
        #expect(mkdir(directory + "/tmp", 0o700) == 0)
        let child = try ChildProcess.spawn(
            SpawnRequest(
                program: program, arguments: [program, "bench"] + arguments, environment: environment,
                descriptors: [nil, output.number, errors.number]))
        withExtendedLifetime((output, errors)) {}
        return try ProcessHandle.open(pid: child.pid)
    }

    private func exitCode(of process: ProcessHandle) async throws -> Int32 {
        try await MartletBench.Blocking.run {
            var status: Int32 = 0
            guard waitpid(process.pid, &status, 0) == process.pid else {
                throw SystemError("wait", "bench", errno: errno)
            }
            return status & 0x7F == 0 ? (status >> 8) & 0xFF : 128 + status & 0x7F
        }
    }

    private func expectNothingIsLeft(_ directory: String) throws {
        #expect(try FileManager.default.contentsOfDirectory(atPath: directory + "/tmp").isEmpty)
        #expect(access(directory + "/data", F_OK) != 0, "the user's own data directory is not touched")
        for name in try FileManager.default.contentsOfDirectory(atPath: "/proc") where pid_t(name) != nil {
            let words = (try? AtomicFile.read("/proc/\(name)/cmdline")) ?? []
            #expect(!String(decoding: words, as: UTF8.self).contains(directory), "process \(name) is left")
            // What is jailed does not name it, but has it mounted.
            let mounts = (try? AtomicFile.read("/proc/\(name)/mountinfo")) ?? []
            let place = "/\(directory.split(separator: "/").last ?? "")/"
            #expect(!String(decoding: mounts, as: UTF8.self).contains(place), "process \(name) is left")
        }
    }

    @Test func createsAreMeasuredInEveryModeAndNothingIsLeft() async throws {
        try await ScratchDirectory.with { scratch in
            let process = try start(
                ["create", "-n", "2", "--concurrency", "2", "--churn", "5", "--no-baseline", "-o", "json"],
                in: scratch.path)
            let code = try await exitCode(of: process)
            let errors = String(decoding: try AtomicFile.read(scratch.path + "/err"), as: UTF8.self)
            #expect(code == 0 && errors.isEmpty, "\(errors)")
            let report = try JSONDecoder().decode(
                BenchReport.self, from: Data(try AtomicFile.read(scratch.path + "/out")))
            for mode in ["warm", "shell", "cold"] {
                let row = try #require(report.rows.first { $0.name == "create \(mode)" })
                #expect(row.concurrency == 2 && row.statistics.runs == 2 && row.statistics.min > 0)
                #expect(row.phases["thaw"]?.runs == 2)
            }
            #expect(report.changes.count == 6 && report.checks.count == 4)
            #expect(report.hasPassed, "\(report.checks)")
            try expectNothingIsLeft(scratch.path)
        }
    }

    /// Runs a short benchmark to its end and reads its report; nothing may be left of it.
    private func report(_ arguments: String...) async throws -> BenchReport {
        try await ScratchDirectory.with { scratch in
            let process = try start(arguments + ["--no-baseline", "-o", "json"], in: scratch.path)
            let code = try await exitCode(of: process)
            let errors = String(decoding: try AtomicFile.read(scratch.path + "/err"), as: UTF8.self)
            #expect(code == 0 && errors.isEmpty, "\(errors)")
            try expectNothingIsLeft(scratch.path)
            return try JSONDecoder().decode(BenchReport.self, from: Data(try AtomicFile.read(scratch.path + "/out")))
        }
    }

    private func row(_ name: String, _ concurrency: Int = 1, in report: BenchReport) throws -> BenchRow {
        try #require(report.rows.first { $0.name == name && $0.concurrency == concurrency }, "\(name)")
    }

    @Test func forksAreMeasuredForEachNumberOfChildren() async throws {
        let report = try await report("fork", "-n", "1", "--children", "1,3")
        for count in [1, 3] {
            for prefix in ["first ", ""] {
                #expect(try row(prefix + ForkBenchmark.pause, count, in: report).statistics.runs == 1)
                let (call, exec) = (
                    try row(prefix + ForkBenchmark.call, count, in: report).statistics,
                    try row(prefix + ForkBenchmark.firstExec, count, in: report).statistics
                )
                #expect(exec.runs == count && call.min > 0 && exec.min > call.min)
            }
            #expect(try row(ForkBenchmark.memory, count, in: report).statistics.min > 1)
        }
        #expect(report.checks.first { !$0.isPromise }?.passed == true && report.hasPassed)
        #expect(report.checks.filter(\.isPromise).count == 2)
    }

    @Test func pausesSnapshotsAndRewindsAreMeasured() async throws {
        let pause = try await report("pause", "-n", "2")
        #expect(try row(PauseBenchmark.pause, in: pause).phases["seal"]?.runs == 2)
        #expect(try row(PauseBenchmark.resume, in: pause).statistics.runs == 2)
        #expect(try row(PauseBenchmark.stored, in: pause).statistics.min > 0.1)

        let restore = try await report("restore", "-n", "1", "--concurrency", "2")
        #expect(try row(RestoreBenchmark.snapshot, in: restore).statistics.runs == 1)
        #expect(try row(RestoreBenchmark.create, 2, in: restore).statistics.runs == 2)
        #expect(try row(RestoreBenchmark.disk, in: restore).statistics.runs == 1)

        let rewind = try await report("rewind", "-n", "2")
        #expect(try row(RewindBenchmark.checkpoint, in: rewind).statistics.min > 0)
        #expect(try row(RewindBenchmark.rewind, in: rewind).statistics.runs == 2)
        #expect(rewind.checks.first { !$0.isPromise }?.passed == true)
    }

    @Test(.enabled(if: geteuid() == 0, "no root: networks are measured in a namespace of their own"))
    func networksAreMeasuredAgainstAPlainBridge() async throws {
        let report = try await report("network", "-n", "2", "--rounds", "1", "--rules", "100", "--slots", "20")
        for way in [NetworkBenchmark.packets, NetworkBenchmark.proxy] {
            for name in ["\(way)", "\(way), 100 rules"] {
                #expect(try row("round trip, \(name)", in: report).statistics.min > 0)
                #expect(try row("download, \(name)", in: report).ratio != nil)
            }
        }
        #expect(try row("download by HTTP, \(NetworkBenchmark.proxy)", in: report).statistics.min > 0)
        for name in [NetworkCreates.without, NetworkCreates.closed, NetworkCreates.with, NetworkCreates.after] {
            #expect(try row(name, in: report).statistics.runs >= 2)
        }
        // So few slots may be made before the first create: then nothing is said of creates meanwhile.
        #expect(report.checks.count >= 3 && report.checks.allSatisfy(\.isPromise))
    }

    @Test(.enabled(if: geteuid() == 0, "no root: there is no jail to measure"))
    func theJailIsMeasuredBesideADaemonWithoutIt() async throws {
        let report = try await report("jail", "-n", "2")
        for name in [
            JailBenchmark.jailedStart, JailBenchmark.bareStart, JailBenchmark.jailedCold, JailBenchmark.bareCold,
            JailBenchmark.jailedReady, JailBenchmark.bareReady,
        ] {
            let row = try row(name, in: report).statistics
            #expect(row.runs == 2 && row.min > 0)
        }
        #expect(report.checks.count == 1 && report.checks.allSatisfy(\.isPromise))
    }

    @Test(.enabled(if: geteuid() == 0, "no root: the walls without a machine need it"))
    func eachWallIsMeasured() async throws {
        let report = try await report("engines", "-n", "1")
        for wall in ["microvm", "gvisor", "process"] {
            for name in ["create", "create with nothing ready", "whole run of true", "computing", "idle memory"] {
                #expect(try row("\(name), \(wall)", in: report).statistics.min > 0)
            }
        }
    }

    /// QEMU's own way, of which the benchmarks only note that it does not work here.
    @Test func aGuestIsStoredAndBroughtBackByQEMUItself() async throws {
        let options = try BenchOptions.parse(["--images", BuiltTemplate.images])
        let environment = [
            "MARTLET_TEMPLATES": BuiltTemplate.repository + "/templates",
            "MARTLET_GUEST_AGENT": BuiltTemplate.repository + "/libexec/martlet-guest", "PATH": "/usr/bin:/bin",
        ]
        var report = Samples.report
        try await MigrationBaseline(context: options.context(runs: 2, environment: environment) { _ in })
            .measure(&report)
        for name in [MigrationBaseline.pause, MigrationBaseline.restore, MigrationBaseline.file] {
            let found = try row(name, in: report)
            #expect(found.isBaseline && found.statistics.runs == 2 && found.statistics.min > 0, "\(report.notes)")
        }
    }

    @Test func anInterruptionLeavesNothingBehind() async throws {
        try await ScratchDirectory.with { scratch in
            let process = try start(["create", "-n", "1000", "--concurrency", "2"], in: scratch.path)
            // Whatever fails below, nothing of this goes on after the test.
            defer {
                if !process.hasEnded {
                    for daemon in ProcessFacts(pid: process.pid).children { kill(daemon, SIGTERM) }
                    process.signal(SIGKILL)
                }
            }
            // Once its daemon has made a machine it is in the middle of its work.
            while ProcessFacts(pid: process.pid).children.allSatisfy({ ProcessFacts(pid: $0).children.isEmpty }) {
                try #require(!process.hasEnded)
                try await Task.sleep(for: .milliseconds(20))
            }
            process.signal(SIGINT)
            #expect(try await exitCode(of: process) == 130)
            #expect(try AtomicFile.read(scratch.path + "/out").isEmpty)
            try expectNothingIsLeft(scratch.path)
        }
    }

    @Test func aTemplateThatIsNotThereIsSaidSo() async throws {
        try await ScratchDirectory.with { scratch in
            let process = try start(["exec", "-T", "nothing-like-it"], in: scratch.path)
            #expect(try await exitCode(of: process) == 125)
            let errors = String(decoding: try AtomicFile.read(scratch.path + "/err"), as: UTF8.self)
            #expect(errors.contains("nothing-like-it"))
            try expectNothingIsLeft(scratch.path)
        }
    }
}
