import Foundation
import Glibc
import SandboxModel
import Testing

@testable import FirecrackerEngine

@Suite struct InstallationTests {
    /// Programs that only tell a version.
    private func programs(_ versions: [String: String]) throws -> String {
        let folder = NSTemporaryDirectory() + "martlet-fc-\(UUID().uuidString.prefix(8))"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        for (name, version) in versions {
            try Data("#!/bin/sh\necho '\(version)'\n".utf8).write(to: URL(fileURLWithPath: "\(folder)/\(name)"))
            chmod("\(folder)/\(name)", 0o755)
        }
        return folder
    }

    private func failure(_ versions: [String: String], _ environment: [String: String] = [:]) async throws -> String {
        let folder = try programs(versions)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let given = environment.merging(["PATH": folder]) { first, _ in first }
        let error = await #expect(throws: MartletError.self) {
            _ = try await FirecrackerInstallation.find { given[$0] }
        }
        #expect(error?.code == .failedPrecondition)
        return error?.message ?? ""
    }

    @Test func readsVersions() {
        #expect(FirecrackerInstallation.parseVersion("Firecracker v1.12.1\n\nexiting")?.text == "1.12.1")
        #expect(FirecrackerInstallation.parseVersion("Jailer v1.13.0-dev\n")?.numbers ?? (0, 0) == (1, 13))
        for text in ["", "Firecracker", "Firecracker v", "Firecracker vX.Y", "Firecracker v1"] {
            #expect(FirecrackerInstallation.parseVersion(text) == nil)
        }
    }

    @Test func saysWhatIsMissing() async throws {
        #expect(try await failure([:]).contains("firecracker is not installed"))
        #expect(try await failure(["firecracker": "Firecracker v1.12.1"]).contains("jailer is not installed"))
        #expect(
            try await failure([:], ["MARTLET_FIRECRACKER": "/none"]).contains("MARTLET_FIRECRACKER: /none"))
    }

    @Test func wantsBothOfOneRelease() async throws {
        let two = ["firecracker": "Firecracker v1.12.1", "jailer": "Jailer v1.12.0"]
        #expect(try await failure(two).contains("install both of one release"))
    }

    @Test func wantsOneThatIsNewEnough() async throws {
        let old = ["firecracker": "Firecracker v1.7.0", "jailer": "Jailer v1.7.0"]
        #expect(try await failure(old).contains("too old"))
        #expect(try await failure(["firecracker": "?", "jailer": "?"]).contains("does not tell its version"))
    }

    @Test func findsThemWhereItIsTold() async throws {
        let folder = try programs(["fc": "Firecracker v1.14.2", "j": "Jailer v1.14.2"])
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let given = ["MARTLET_FIRECRACKER": "\(folder)/fc", "MARTLET_FIRECRACKER_JAILER": "\(folder)/j"]
        let found = try await FirecrackerInstallation.find { given[$0] }
        #expect(found == .init(program: "\(folder)/fc", jailer: "\(folder)/j", version: "1.14.2"))
    }
}
