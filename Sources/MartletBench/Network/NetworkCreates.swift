import LinuxSystem
import MartletAPI
import MartletClient
import SandboxModel

/// What a network adds to the time of a create, and whether making slots is in the way of creates.
struct NetworkCreates: Sendable {
    let context: BenchContext
    /// How many slots are made while sandboxes are.
    let slots: Int

    static let without = "create warm, host without networks"
    static let closed = "create warm, mode none"
    static let with = "create warm, with a network"
    static let during = "create warm, while slots are made"
    static let after = "create warm, when slots are made"

    private static let promise = 3.0
    /// Creates next to slots being made may be so much slower, for they share the processors.
    private static let tolerance = (share: 0.5, milliseconds: 5.0)

    private static var policy: NetworkPolicy {
        NetworkPolicy(mode: .allowlist, allow: HostPattern(BenchWorld.name).map { [NetworkRule(.host($0))] } ?? [])
    }

    func measure(_ report: inout BenchReport) async throws {
        try await compare(&report)
        try await measureBackground(&report)
    }

    /// Both hosts take turns.
    private func compare(_ report: inout BenchReport) async throws {
        let samples = try await context.withServer(.warm(1), settings: BenchWorld.settings) { networked in
            try await context.withServer(.warm(1), settings: ["MARTLET_NO_NETWORK": "1"]) { plain in
                var samples: [String: [CreateReport]] = [:]
                for index in 0..<context.runs {
                    context.progress("create with and without a network: \(index) of \(context.runs)")
                    for (name, server, policy) in [
                        (Self.without, plain, nil), (Self.closed, networked, nil),
                        (Self.with, networked, Self.policy),
                    ] {
                        try await server.waitUntilPoolIsFull()
                        samples[name, default: []].append(try await create(on: server, policy))
                    }
                }
                return samples
            }
        }
        for name in [Self.without, Self.closed, Self.with] {
            let found = samples[name] ?? []
            report.add(
                BenchRow(
                    name, found.map(\.totalMilliseconds), phases: found.map(\.phases),
                    isBaseline: name == Self.without, baseline: name == Self.without ? nil : Self.without))
        }
        guard let without = report.middle(Self.without), let with = report.middle(Self.with) else { return }
        report.checks.append(
            .init(
                "a network adds at most \(Int(Self.promise)) ms to a create", passed: with - without <= Self.promise,
                detail: "\(Statistics.rounded(with - without)) ms", isPromise: true))
    }

    /// Creates from the moment a daemon begins to fill a large pool, and as many when it is full.
    private func measureBackground(_ report: inout BenchReport) async throws {
        let settings = BenchWorld.settings.merging(["MARTLET_NETWORK_POOL": "\(slots)"]) { $1 }
        let (during, after, seconds) = try await context.withServer(.warm(1), settings: settings) { server in
            let start = Clocks.monotonicNanoseconds
            var during: [CreateReport] = []
            while try await slotsReady(server) < slots {
                context.progress("creates while slots are made: \(try await slotsReady(server)) of \(slots)")
                try await server.waitUntilPoolIsFull()
                during.append(try await create(on: server, Self.policy))
            }
            let seconds = Double(Clocks.monotonicNanoseconds - start) / 1e9
            var after: [CreateReport] = []
            for _ in 0..<max(context.runs, during.count) {
                try await server.waitUntilPoolIsFull()
                after.append(try await create(on: server, Self.policy))
            }
            return (during, after, seconds)
        }
        for (name, found) in [(Self.during, during), (Self.after, after)] {
            report.add(BenchRow(name, found.map(\.totalMilliseconds), phases: found.map(\.phases)))
        }
        report.notes.append(
            "\(slots) slots were ready \(Statistics.rounded(seconds)) s after the daemon's first sandbox, with "
                + "\(during.count) creates meanwhile")
        guard let busy = report.middle(Self.during), let idle = report.middle(Self.after) else { return }
        report.checks.append(
            .init(
                "making slots blocks no create",
                passed: busy <= idle * (1 + Self.tolerance.share) + Self.tolerance.milliseconds,
                detail: "\(busy) ms meanwhile, \(idle) ms afterwards", isPromise: true))
    }

    private func slotsReady(_ server: BenchServer) async throws -> Int {
        guard let network = try await server.client.host().network, network.available else {
            throw MartletError(.failedPrecondition, "bench network: the daemon has no networks: see martlet doctor")
        }
        return network.slotsReady
    }

    private func create(on server: BenchServer, _ policy: NetworkPolicy?) async throws -> CreateReport {
        let sandbox = try await server.client.createSandbox(
            CreateSandboxRequest(
                template: server.template, timeoutSeconds: BenchServer.leaseSeconds, network: policy))
        try await server.client.deleteSandbox(sandbox.id)
        guard let report = sandbox.create else {
            throw MartletError(.internal, "create: \(sandbox.id): the server does not say how it came about")
        }
        return report
    }
}

extension BenchReport {
    /// The middle of a row.
    fileprivate func middle(_ name: String) -> Double? { rows.first { $0.name == name }?.statistics.p50 }
}
