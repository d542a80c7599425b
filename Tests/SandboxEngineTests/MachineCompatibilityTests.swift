import SandboxEngine
import Testing

@Suite struct MachineCompatibilityTests {
    private let machine = MachineCompatibility(
        engine: "qemu-kvm", version: "7.2.0", machine: "d1", processorFeatures: ["avx", "sse2"],
        timeStampKilohertz: 2_400_000)

    private func host(_ change: (inout MachineCompatibility) -> Void) -> MachineCompatibility {
        var host = machine
        change(&host)
        return host
    }

    @Test func `a capture fits the host it was made on, and one with more features`() {
        #expect(machine.obstacle(on: machine) == nil)
        #expect(machine.obstacle(on: host { $0.processorFeatures.append("avx512f") }) == nil)
    }

    @Test func `the reason names what is in the way`() {
        let cases: [(MachineCompatibility, [String])] = [
            (host { $0.engine = "qemu-tcg" }, ["qemu-kvm", "qemu-tcg"]),
            (host { $0.version = "8.0.0" }, ["7.2.0", "8.0.0"]),
            (host { $0.machine = "d2" }, ["devices"]),
            (host { $0.processorFeatures = ["sse2"] }, ["lacks avx"]),
            (host { $0.timeStampKilohertz = 3_000_000 }, ["2400000 kHz", "3000000 kHz"]),
            (host { $0.timeStampKilohertz = 0 }, ["2400000 kHz", "0 kHz"]),
        ]
        for (other, words) in cases {
            let obstacle = machine.obstacle(on: other) ?? "none"
            for word in words { #expect(obstacle.contains(word), "\(obstacle)") }
        }
    }

    @Test func `clocks may differ by what measuring them differs by, and no more`() {
        // 1 in 1800, as long as that takes two seconds in an hour.
        for (rate, fits): (UInt64, Bool) in [
            (2_401_333, true), (2_398_667, true), (2_401_400, false), (2_398_600, false),
        ] {
            #expect((machine.obstacle(on: host { $0.timeStampKilohertz = rate }) == nil) == fits, "\(rate)")
        }
        var timeless = machine
        timeless.timeStampKilohertz = 0
        #expect(timeless.obstacle(on: timeless) == nil)
    }
}
