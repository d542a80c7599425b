import ArgumentParser
import SandboxModel
import Testing

@testable import MartletCommands

struct IsolationSettingsTests {
    private func settings(_ arguments: String..., environment: [String: String] = [:]) throws -> IsolationSettings {
        try IsolationSettings(IsolationServeOptions.parse(arguments), environment: environment)
    }

    @Test func microVMsOfEveryLevelAreTheDefault() throws {
        let plain = try settings()
        #expect(plain.preferred == .microVM)
        #expect(plain.minimum == nil)
    }

    @Test func optionsGoBeforeTheEnvironment() throws {
        let given = ["MARTLET_DEFAULT_ISOLATION": "gvisor", "MARTLET_MINIMUM_ISOLATION": "process"]
        let named = try settings("--minimum-isolation", "user-kernel", environment: given)
        #expect(named.preferred == .engine("gvisor"))
        #expect(named.minimum == .userKernel)
    }

    @Test func firecrackerMayBeTheDefaultAndItsLevelTheLeast() throws {
        let strict = try settings("--default-isolation", "firecracker", "--minimum-isolation", "hardware-vm")
        #expect(strict.preferred == .engine("firecracker"))
        #expect(strict.minimum == .hardwareVM)
    }

    @Test func processesAreNobodysDefault() {
        #expect(throws: MartletError.self) { try settings("--default-isolation", "process") }
        #expect(throws: MartletError.self) { try settings("--default-isolation", "bubblewrap") }
        #expect(throws: MartletError.self) { try settings("--minimum-isolation", "strong") }
    }
}
