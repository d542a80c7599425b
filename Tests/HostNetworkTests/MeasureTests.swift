import CLinux
import Glibc
import LinuxSystem
import SandboxModel
import Testing

@testable import HostNetwork

/// How long things take; asserts nothing, prints.
@Suite(
    .enabled(if: NetworkLab.isPossible && getenv("MARTLET_MEASURE") != nil, "prints figures with MARTLET_MEASURE=1"),
    .serialized)
struct MeasureTests {
    private func print(_ name: String, _ times: [Int64]) {
        let sorted = times.sorted()
        let (p50, p99) = (sorted[sorted.count / 2], sorted[sorted.count * 99 / 100])
        Swift.print("\(name): p50 \(p50 / 1000) us, p99 \(p99 / 1000) us, of \(times.count)")
    }

    private func time(_ work: () async throws -> Void) async rethrows -> Int64 {
        let begin = clinux_monotonic_ns()
        try await work()
        return clinux_monotonic_ns() - begin
    }

    @Test func slotsAndPolicies() async throws {
        try await NetworkLab.with { lab in
            let network = try await lab.open()
            var (make, tap, first, closed, again, release): ([Int64], [Int64], [Int64], [Int64], [Int64], [Int64]) =
                ([], [], [], [], [], [])
            let open = SandboxNetwork(policy: NetworkPolicy(mode: .public))
            for _ in 0..<100 {
                let slot = try await {
                    var slot: NetworkSlot?
                    make.append(try await time { slot = try await network.lease() })
                    return slot!
                }()
                tap.append(try await time { _ = try await slot.openTap() })
                closed.append(try await time { try await slot.apply(.closed) { _ in } })
                first.append(try await time { try await slot.apply(open) { _ in } })
                again.append(
                    try await time {
                        try await slot.apply(
                            SandboxNetwork(policy: NetworkPolicy(mode: .public, deny: [NetworkRule("9.9.9.9")!]))
                        ) { _ in }
                    })
                release.append(await time { await network.release(slot) })
            }
            print("make a slot", make)
            print("open its tap", tap)
            print("apply none, first", closed)
            print("apply public", first)
            print("replace public", again)
            print("release", release)
            for count in [10, 100, 1000, 4096] {
                for kind in ["addresses", "addresses with a port", "ranges with ports"] {
                    var times: [Int64] = []
                    let slot = try await network.lease()
                    let rules = (0..<count).map { index in
                        let address = IPv4Address(bits: 0x0800_0000 + UInt32(index) * 512)
                        return switch kind {
                        case "addresses": NetworkRule(.addresses(IPv4Prefix(address, length: 32)))
                        case "addresses with a port":
                            NetworkRule(.addresses(IPv4Prefix(address, length: 32)), ports: [PortRange(443, 443)])
                        default:
                            NetworkRule(
                                .addresses(IPv4Prefix(address, length: 23)),
                                ports: [PortRange(80, 90), PortRange(443, 443)])
                        }
                    }
                    for round in 0..<5 {
                        let policy = NetworkPolicy(mode: .allowlist, allow: rules, maxConnections: 100 + round)
                        times.append(try await time { try await slot.apply(SandboxNetwork(policy: policy)) { _ in } })
                    }
                    print("apply \(count) \(kind)", times)
                    await network.release(slot)
                }
            }
        }
    }
}
