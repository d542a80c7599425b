import Foundation
import Testing

@testable import SandboxEngine

@Suite struct HostAcceleratorTests {
    @Test func `a device without processor extensions is no KVM`() {
        let found = HostAccelerator.candidate(
            processorFlags: "fpu hypervisor", canOpenDevice: true, deviceExists: true)
        guard case .none(let reason) = found else {
            Issue.record("it was taken for usable")
            return
        }
        #expect(reason.contains("/dev/kvm exists"))
    }

    @Test(arguments: ["vmx", "svm"])
    func `extensions and an accessible device are worth a probe boot`(flag: String) {
        #expect(
            HostAccelerator.candidate(processorFlags: "fpu \(flag)", canOpenDevice: true, deviceExists: true)
                == .kvmToBeProbed)
    }

    @Test func `each missing piece names its remedy`() {
        guard
            case .none(let module) = HostAccelerator.candidate(
                processorFlags: "svm", canOpenDevice: false, deviceExists: false),
            case .none(let group) = HostAccelerator.candidate(
                processorFlags: "svm", canOpenDevice: false, deviceExists: true)
        else {
            Issue.record("it was taken for usable")
            return
        }
        #expect(module.contains("modprobe"))
        #expect(group.contains("group kvm"))
    }

    @Test func `a verdict holds for the version that was probed`() throws {
        let path = NSTemporaryDirectory() + "martlet-verdict-\(UUID().uuidString.prefix(8))"
        defer { try? FileManager.default.removeItem(atPath: path) }
        #expect(HostAccelerator.remembered(in: path, monitor: "1.0") == nil)
        try HostAccelerator.remember(.init(monitor: "1.0", works: false, reason: "it hung"), in: path)
        #expect(HostAccelerator.remembered(in: path, monitor: "1.0")?.reason == "it hung")
        #expect(HostAccelerator.remembered(in: path, monitor: "1.1") == nil)
    }
}
