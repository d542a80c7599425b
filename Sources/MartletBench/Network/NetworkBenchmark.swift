import LinuxSystem
import MartletAPI
import MartletClient
import SandboxModel

/// What a network of its own costs a sandbox: throughput and latency against a plain bridge, and time to create.
package struct NetworkBenchmark: Sendable {
    let context: BenchContext
    /// How many rules policies have, besides none.
    let ruleCounts: [Int]
    let rounds: Int
    let slots: Int

    /// - Parameters:
    ///   - ruleCounts: each is measured with so many rules of addresses, and so many of names.
    ///   - rounds: how often each figure of throughput is taken; the ways take turns.
    ///   - slots: how many are made in the background of creates.
    package init(context: BenchContext, ruleCounts: [Int], rounds: Int, slots: Int) {
        self.context = context
        self.ruleCounts = ruleCounts
        self.rounds = rounds
        self.slots = slots
    }

    /// Goes on in a network namespace of its own; see `BenchWorld.startAgain`.
    package static func startAgain(program: String, arguments: [String], adding word: String) throws {
        try BenchWorld.startAgain(program: program, arguments: arguments, adding: word)
    }

    /// A way from a guest to the server.
    private struct Way: Sendable {
        var name: String
        var guest: any NetworkGuest
        var address: String
        var kinds: [NetworkProbe.Kind]
    }

    static let bridge = "plain bridge"
    static let packets = "tap and NAT"
    static let proxy = "proxy"
    private static let pings = 200
    private static let connects = 40

    /// Runs it.
    package func run() async throws -> BenchReport {
        try await ScratchDirectory.with { scratch in
            try await BenchWorld.with(log: scratch.path + "/links.log") { world in
                var report = try await context.withServer(.none, settings: BenchWorld.settings) { server in
                    var report = try await context.report("network", server)
                    try await measureWays(server, world, log: scratch.path + "/links.log", &report)
                    return report
                }
                try await NetworkCreates(context: context, slots: slots).measure(&report)
                addNotes(&report)
                report.compare()
                return report
            }
        }
    }

    // MARK: Ways

    /// Policies, by the name of the way they make.
    private var policies: [(name: String, policy: NetworkPolicy, isByName: Bool)] {
        let port = NetworkRule(
            .host(Self.host(BenchWorld.name)), ports: [BenchWorld.dataPort, 80].map { PortRange($0, $0) })
        var all: [(String, NetworkPolicy, Bool)] = [
            (Self.packets, NetworkPolicy(mode: .public), false),
            (Self.proxy, NetworkPolicy(mode: .allowlist, allow: [port]), true),
        ]
        for count in ruleCounts {
            let addresses = (0..<count).map { number in
                NetworkRule(
                    .addresses(IPv4Prefix(IPv4Address(45, UInt8(number / 256), UInt8(number % 256), 0), length: 24)))
            }
            let names = (1..<count).map { NetworkRule(.host(Self.host("host-\($0).elsewhere.bench"))) }
            all.append((Self.packets + ", \(count) rules", NetworkPolicy(mode: .public, deny: addresses), false))
            all.append((Self.proxy + ", \(count) rules", NetworkPolicy(mode: .allowlist, allow: names + [port]), true))
        }
        return all
    }

    private static func host(_ name: String) -> HostPattern {
        guard let pattern = HostPattern(name) else { preconditionFailure("\(name) is a name") }
        return pattern
    }

    private func measureWays(
        _ server: BenchServer, _ world: BenchWorld, log: String, _ report: inout BenchReport
    ) async throws {
        let samples = try await Baselines(context: context).withRecipe(report) { recipe, directory in
            context.progress("booting a QEMU on a plain bridge")
            let tap = try await world.bridgedTap(log: log)
            return try await RawMachine.with(recipe, in: directory, tap: tap) { machine in
                let raw = RawGuest(machine: machine)
                try await prepare(raw)
                let plain = Way(
                    name: Self.bridge, guest: raw, address: "\(BenchWorld.bridged)",
                    kinds: NetworkProbe.Kind.allCases)
                return try await withSandboxes(server) { try await measure([plain] + $0) }
            }
        }
        add(samples, &report)
    }

    /// Gives the machine on the bridge its address.
    private func prepare(_ guest: RawGuest) async throws {
        let script = """
            link=$(ls /sys/class/net | grep -v '^lo$' | head -n 1)
            ip address flush dev $link && ip address add \(BenchWorld.bridgedGuest) dev $link && ip link set $link up
            """
        _ = try await guest.run(["/bin/sh", "-c", script])
    }

    /// Makes a sandbox for each policy, and removes them all.
    private func withSandboxes<Result: Sendable>(
        _ server: BenchServer, _ body: ([Way]) async throws -> Result
    ) async throws -> Result {
        var ways: [Way] = []
        var ids: [String] = []
        let result: Result
        do {
            for (name, policy, isByName) in policies {
                context.progress("making a sandbox: \(name)")
                let sandbox = try await server.client.createSandbox(
                    CreateSandboxRequest(
                        template: server.template, timeoutSeconds: BenchServer.leaseSeconds, network: policy))
                ids.append(sandbox.id)
                ways.append(
                    Way(
                        name: name, guest: SandboxGuest(server: server, id: sandbox.id),
                        address: isByName ? BenchWorld.name : "\(BenchWorld.server)",
                        kinds: isByName ? NetworkProbe.Kind.allCases : [.download, .upload, .ping, .connect]))
            }
            result = try await body(ways)
        } catch {
            try? await server.delete(ids)
            throw error
        }
        try await server.delete(ids)
        return result
    }

    /// Samples of one kind on one way.
    private struct Series: Sendable {
        var way: String
        var kind: NetworkProbe.Kind
        var milliseconds: [Double]
    }

    /// The ways take turns, so that what else goes on at the host falls on all of them.
    private func measure(_ ways: [Way]) async throws -> [Series] {
        var series: [Series] = []
        for way in ways {
            for kind in way.kinds { series.append(Series(way: way.name, kind: kind, milliseconds: [])) }
            // An emulator translates the programs in the first run.
            for kind in way.kinds {
                _ = try await way.guest.measure(kind, to: way.address, count: kind.isBulk ? 1 << 20 : 20)
            }
        }
        for round in 0..<rounds {
            for way in ways {
                context.progress("\(way.name): round \(round + 1) of \(rounds)")
                for kind in way.kinds {
                    let count =
                        switch kind {
                        case .download, .upload, .http: NetworkProbe.bytes
                        case .ping: Self.pings
                        case .connect: Self.connects
                        }
                    let found = try await way.guest.measure(kind, to: way.address, count: count)
                    for index in series.indices where series[index].way == way.name && series[index].kind == kind {
                        series[index].milliseconds += found
                    }
                }
            }
        }
        return series
    }

    private static func rowName(_ kind: NetworkProbe.Kind, _ way: String) -> String {
        let what =
            switch kind {
            case .download: "download"
            case .upload: "upload"
            case .http: "download by HTTP"
            case .ping: "round trip"
            case .connect: "connect and first byte"
            }
        return "\(what), \(way)"
    }

    private func add(_ all: [Series], _ report: inout BenchReport) {
        for kind in NetworkProbe.Kind.allCases {
            for series in all where series.kind == kind {
                let isBaseline = series.way == Self.bridge
                let (name, baseline) = (
                    Self.rowName(kind, series.way), isBaseline ? nil : Self.rowName(kind, Self.bridge)
                )
                if kind.isBulk {
                    report.add(
                        .rate(
                            name, bytes: NetworkProbe.bytes, series.milliseconds, isBaseline: isBaseline,
                            baseline: baseline))
                } else {
                    report.add(BenchRow(name, series.milliseconds, isBaseline: isBaseline, baseline: baseline))
                }
            }
        }
        for count in ruleCounts {
            for way in [Self.packets, Self.proxy] { addCheck(way, rules: count, &report) }
        }
    }

    /// Rules change no latency: what they add is within what a run like it differs by.
    private static let tolerance = (share: 0.15, milliseconds: 0.05)

    private func addCheck(_ way: String, rules: Int, _ report: inout BenchReport) {
        func middle(_ way: String) -> Double? {
            report.rows.first { $0.name == Self.rowName(.ping, way) }?.statistics.p50
        }
        guard let without = middle(way), let with = middle(way + ", \(rules) rules") else { return }
        let most = without * (1 + Self.tolerance.share) + Self.tolerance.milliseconds
        report.checks.append(
            .init(
                "\(rules) rules change no latency, \(way)", passed: with <= most,
                detail: "\(without) ms without, \(with) ms with them", isPromise: true))
    }

    private func addNotes(_ report: inout BenchReport) {
        report.notes += [
            "the guest measures, with a Python program; \(NetworkProbe.bytes >> 20) MiB a transfer. Plain bridge: the "
                + "same kernel and disk in a QEMU by hand, its tap on a bridge with the server's link. An emulated "
                + "guest's own processor bounds most figures",
            "tap and NAT: mode public. Proxy: an allowlist with the server's name, so that every connection goes through "
                + "the daemon; by HTTP it reads every request",
        ]
    }
}
