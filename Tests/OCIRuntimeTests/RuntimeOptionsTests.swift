import SandboxModel
import Testing

@testable import OCIRuntime

@Suite struct RuntimeOptionsTests {
    @Test func `the command lines of podman and conmon are understood`() throws {
        let options = try RuntimeOptions([
            "--root=/run/r", "--log-format=json", "--log", "/run/l", "--systemd-cgroup", "create", "--bundle", "/b",
            "--pid-file", "/p", "--console-socket", "/s", "abc",
        ])
        #expect(options.verb == "create")
        #expect(options.root == "/run/r")
        #expect(options.bundle == "/b")
        #expect(options.pidFile == "/p")
        #expect(options.consoleSocket == "/s")
        #expect(options.logIsJSON)
        #expect(try options.container() == "abc")
        let kill = try RuntimeOptions(["kill", "--all", "abc", "9"])
        #expect(kill.all)
        #expect(kill.words == ["abc", "9"])
        #expect(try RuntimeOptions(["delete", "-f", "abc"]).force)
    }

    @Test func `what is no flag or no place is refused`() {
        for words in [["--nothing", "state", "a"], ["create", "--bundle"], ["--root", "here", "state", "a"]] {
            #expect(throws: MartletError.self) { try RuntimeOptions(words) }
        }
    }

    @Test func `ids that could be paths are refused`() throws {
        let ids = [
            "..", ".", "../x", "a/b", "/etc", "", ".hidden", "a b", "a\u{0}b", "é", String(repeating: "a", count: 129),
        ]
        for id in ids {
            #expect(throws: MartletError.self, "\(id)") { try RuntimeOptions(["state", id]).container() }
        }
        #expect(try RuntimeOptions(["state", "A_b+1.2-3"]).container() == "A_b+1.2-3")
    }
}
