import GuestProtocol
import MartletAPI
import Node
import SandboxModel
import Testing

@testable import ControlPlane

@Suite("What clients may send")
struct ValidationTests {
    @Test(
        "Paths lose what they do not need",
        arguments: [
            ("/", "/"), ("/a", "/a"), ("//a///b/", "/a/b"), ("/a/./b", "/a/b"), ("/a/../b", "/b"), ("/a/..", "/"),
            ("/a/b/../../c", "/c"), ("/a/...", "/a/..."), ("/ä /\u{1F426}", "/ä /\u{1F426}"), ("/a+b%20", "/a+b%20"),
        ])
    func paths(given: String, expected: String) throws {
        #expect(try GuestPath.checked(given) == expected)
    }

    @Test(
        "Paths that climb out, are relative, too long or hold a NUL are refused",
        arguments: [
            "", "a", "./a", "../a", "/..", "/../etc/passwd", "/a/../../b", "/a\0b",
            "/" + String(repeating: "x", count: 4096),
        ])
    func badPaths(path: String) {
        let error = #expect(throws: MartletError.self) { try GuestPath.checked(path) }
        #expect(error?.code == .invalidArgument)
        #expect(error?.details["field"] == "path")
    }

    @Test("Environment variables become pairs in the order of their names")
    func environment() throws {
        let pairs = try EnvironmentCheck.pairs(["B": "2 =x\n", "A": "", "_c9": "ü"], field: "env")
        #expect(pairs == ["A=", "B=2 =x\n", "_c9=ü"])
    }

    @Test(
        "Bad environment variables are refused",
        arguments: [
            ["": "x"], ["1A": "x"], ["A B": "x"], ["A=B": "x"], ["Ä": "x"], ["A-B": "x"], ["A": "x\0y"],
            ["A": String(repeating: "x", count: 40_000)],
            [String(repeating: "A", count: 256): "x"],
        ] as [[String: String]])
    func badEnvironment(variables: [String: String]) {
        let error = #expect(throws: MartletError.self) { try EnvironmentCheck.pairs(variables, field: "env") }
        #expect(error?.code == .invalidArgument)
        #expect(error?.details["field"]?.hasPrefix("env") == true)
    }

    @Test("A create request with defaults asks for the base template")
    func createDefaults() throws {
        let plan = try CreatePlan(CreateSandboxRequest(), caller: .local, configuration: .init(version: "test"))
        #expect(plan.template == TemplateReference(name: "base"))
        #expect(plan.timeoutSeconds == 300)
        #expect(plan.isolation == .auto)
        let id = SandboxID.random()
        #expect(plan.spec(id: id, network: .init(network: .closed, sealed: nil)).hostname == id.rawValue)
    }

    @Test(
        "Bad create requests are refused, naming the field",
        arguments: [
            (CreateSandboxRequest(template: "../etc"), "template"),
            (CreateSandboxRequest(name: "Web"), "name"),
            (CreateSandboxRequest(name: "s0123456789abcdefghj"), "name"),
            (CreateSandboxRequest(timeoutSeconds: 0), "timeout_seconds"),
            (CreateSandboxRequest(timeoutSeconds: 604_801), "timeout_seconds"),
            (CreateSandboxRequest(cpus: 1000), "cpus"),
            (CreateSandboxRequest(memoryMiB: .max), "memory_mb"),
            (CreateSandboxRequest(memoryMiB: 7), "memory_mb"),
            (CreateSandboxRequest(diskMiB: -1), "disk_mb"),
            (CreateSandboxRequest(metadata: ["a b": "x"]), "metadata"),
            (CreateSandboxRequest(metadata: ["a": "x\ny"]), "metadata.a"),
            (CreateSandboxRequest(metadata: ["a": String(repeating: "x", count: 1025)]), "metadata.a"),
            (CreateSandboxRequest(isolation: "../qemu"), "isolation"),
        ])
    func badCreates(request: CreateSandboxRequest, field: String) {
        let error = #expect(throws: MartletError.self) {
            try CreatePlan(request, caller: .local, configuration: .init(version: "test"))
        }
        #expect(error?.code == .invalidArgument)
        #expect(error?.details["field"] == field)
    }

    @Test("Commands must name something, hold no NUL, and fit into a frame")
    func commands() throws {
        let good = try CommandCheck.process(cmd: .shell("echo $HOME"), cwd: "/tmp/", env: ["A": "1"], user: "1000:1000")
        #expect(good.arguments == ["/bin/sh", "-c", "echo $HOME"])
        #expect(good.workingDirectory == "/tmp")
        #expect(good.environment == ["A=1"])
        for (command, cwd, user) in [
            (Command.arguments([]), nil, nil), (.arguments([""]), nil, nil), (.arguments(["a\0b"]), nil, nil),
            (.shell(String(repeating: "x", count: 70_000)), nil, nil), (.shell("true"), "tmp", nil),
            (.shell("true"), nil, "a b"), (.shell("true"), nil, "a:b:c"),
        ] as [(Command, String?, String?)] {
            let error = #expect(throws: MartletError.self) {
                try CommandCheck.process(cmd: command, cwd: cwd, env: nil, user: user)
            }
            #expect(error?.code == .invalidArgument)
        }
    }

    @Test("Time-outs are finite and bounded")
    func timeouts() throws {
        #expect(try CommandCheck.milliseconds(0.0001, allowsZero: false) == 1)
        #expect(try CommandCheck.milliseconds(1.5, allowsZero: false) == 1500)
        #expect(try CommandCheck.milliseconds(0, allowsZero: true) == 0)
        for (seconds, allowsZero) in [(0, false), (-1, true), (.infinity, true), (.nan, true), (1e9, true)] {
            #expect(throws: MartletError.self) { try CommandCheck.milliseconds(seconds, allowsZero: allowsZero) }
        }
    }
}
