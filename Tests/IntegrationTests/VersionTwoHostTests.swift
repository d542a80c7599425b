import Foundation
import Glibc
import MartletAPI
import MartletClient
import SandboxModel
import Testing

/// The system of template base.
private enum GuestsSystem {
    static let isHere =
        (try? String(contentsOfFile: "/etc/os-release", encoding: .utf8))?.contains("VERSION_ID=\"12\"") ?? false
}

/// A host whose control groups are all of version 2, which the one that runs the tests may not be: a guest is one. What
/// jails and limits machines is tried in it, by the tests that try it here.
@Suite(
    .requiresDaemon, .timeLimit(.minutes(5)), .enabled(if: geteuid() == 0, "jails take root"),
    .enabled(if: GuestsSystem.isHere, "the guest is Debian 12, whose C library is older than this host's"))
struct VersionTwoHostTests {
    /// Where everything is put before it is moved to where it is on this host.
    private static let inbox = "/inbox"

    private struct File {
        var path: String
        var index: Int
        var place: String { "\(VersionTwoHostTests.inbox)/\(index)" }
    }

    @Test func `jails and control groups hold where there is version 2 only`() async throws {
        let tests = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
        let folder = URL(fileURLWithPath: tests).deletingLastPathComponent().path
        let libraries = try await Program.run("ldd", [tests]).output.split(whereSeparator: \.isWhitespace)
            .map(String.init).filter { $0.hasPrefix("/") }
        let paths = [tests, "\(folder)/jail-probe", "\(DaemonFixture.repository)/libexec/martlet-jailer"] + libraries
        let files = Set(paths).sorted().enumerated().map { File(path: $0.element, index: $0.offset) }
        try await DaemonFixture.with { fixture in
            var request = CreateSandboxRequest(timeoutSeconds: 900, isolation: "microvm")
            request.memoryMiB = 512
            let sandbox = try await fixture.create(request)
            _ = try await fixture.client.exec(sandbox.id, ExecRequest(cmd: .arguments(["mkdir", Self.inbox])))
            for file in files {
                let copied = try await fixture.cli("cp", file.path, "\(sandbox.id):\(file.place)")
                try #require(copied.code == 0, "\(copied.errors)")
            }
            // What the guest has itself stays; the rest goes where it is here, since programs name it so.
            let moves = files.map { file in
                "test -e '\(file.path)' || { mkdir -p \"$(dirname '\(file.path)')\"; mv \(file.place) '\(file.path)'; "
                    + "chmod 755 '\(file.path)'; }"
            }
            let script =
                (["set -e"] + moves + [
                    "mkdir /groups; mount -t cgroup2 none /groups",
                    // The agent shows programs a part of the tree; a host's daemon sees all of it.
                    "umount -l /sys/fs/cgroup; mount --bind /groups /sys/fs/cgroup",
                    "echo $$ > /sys/fs/cgroup/cgroup.procs", "! grep ' cgroup ' /proc/mounts",
                    "export LC_ALL=C.UTF-8 LD_LIBRARY_PATH=\"$(dirname \"$(find / -xdev -name libswiftCore.so)\")\"",
                    "'\(tests)' --testing-library swift-testing --filter 'QEMUEngineTests.JailTests|ControlGroupTests' 2>&1",
                ]).joined(separator: "\n")
            let result = try await fixture.client.exec(
                sandbox.id, ExecRequest(cmd: .shell(script), timeoutSeconds: 240))
            let output = result.stdout ?? ""
            #expect(result.exitCode == 0, "\(output.suffix(4000)) \(result.stderr ?? "")")
            for name in ["every call that leads out, or up, is refused", "no more tasks than allowed are started"] {
                #expect(output.contains("Test \"\(name)\" passed"), "\(output.suffix(4000))")
            }
            #expect(!output.contains("skipped"))
        }
    }
}
