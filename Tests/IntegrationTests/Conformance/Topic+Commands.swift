import MartletAPI
import MartletClient
import NIOCore
import SandboxModel
import Testing

extension Topic {
    static let commands = Topic(
        name: "commands",
        promises: [
            Promise("output, errors and exit code come apart") { world in
                let result = try await world.shell("echo out; echo err >&2; exit 3")
                #expect(result.stdout == "out\n")
                #expect(result.stderr == "err\n")
                #expect(result.exitCode == 3)
                #expect(result.signal == nil)
            },
            Promise("arguments reach the program as they are") { world in
                let words = ["a b", "", "'quoted\"", "$HOME", "línea\n2", "-n"]
                let result = try await world.run(ExecRequest(cmd: .arguments(["/usr/bin/printf", "[%s]"] + words)))
                #expect(result.stdout == words.map { "[\($0)]" }.joined())
            },
            Promise("what is missing is 127, what cannot be run 126") { world in
                try await world.expect(ExecRequest(cmd: .arguments(["no-such-thing"])), exits: 127)
                try await world.expect(ExecRequest(cmd: .arguments(["/etc/passwd"])), exits: 126)
            },
            Promise("an end by signal is told") { world in
                let result = try await world.shell("kill -TERM $$")
                #expect(result.signal == "SIGTERM")
                #expect(result.exitCode == 143)
            },
            Promise("exit codes go up to 255") { world in
                try await world.expect(ExecRequest(cmd: .shell("exit 255")), exits: 255)
            },
            Promise("standard input is given and ends") { world in
                let text = String(repeating: "martlet\n", count: 40_000)
                let result = try await world.run(ExecRequest(cmd: .shell("wc -c; cat | wc -c"), stdin: text))
                #expect(result.stdout == "320000\n0\n")
            },
            Promise("without input programs find its end") { world in
                try await world.expect(ExecRequest(cmd: .arguments(["cat"]), timeoutSeconds: 20), exits: 0)
            },
            Promise("output that is no text comes as base 64") { world in
                let result = try await world.shell("printf '\\377\\000\\001'")
                #expect(result.stdout == nil)
                #expect(result.stdoutBase64 == "/wAB")
            },
            Promise("much output is cut where asked for") { world in
                let result = try await world.run(
                    ExecRequest(cmd: .shell("head -c 5000000 /dev/zero | tr '\\0' x"), maxOutputBytes: 1000))
                #expect(result.truncated)
                #expect(result.stdout?.utf8.count == 1000)
                #expect(result.exitCode == 0)
            },
            Promise("a time-out kills all that a command has started") { world in
                let result = try await world.shell("sleep 4711 & (setsid sleep 4711 &) ; sleep 4711", seconds: 0.5)
                #expect(result.timedOut)
                #expect(result.signal == "SIGKILL")
                try await world.expect("pgrep -fx 'sleep 4711' | wc -l", prints: "0")
            },
            Promise("the working directory is the one asked for") { world in
                try await world.expect(ExecRequest(cmd: .arguments(["pwd"]), cwd: "/usr"), prints: "/usr\n")
                let error = await world.failure {
                    _ = try await world.run(ExecRequest(cmd: .arguments(["pwd"]), cwd: "/no/such"))
                }
                #expect(error?.code == .invalidArgument)
            },
            Promise("many commands at once do not mix") { world in
                try await withThrowingTaskGroup(of: Bool.self) { group in
                    for number in 0..<24 {
                        group.addTask { try await world.output("sleep 0.1; echo \(number)") == "\(number)" }
                    }
                    for try await isRight in group { #expect(isRight) }
                }
            },
        ])

    static let processes = Topic(
        name: "processes",
        promises: [
            Promise("a background process is listed, and remembered when it has ended") { world in
                let process = try await world.start(StartProcessRequest(cmd: .shell("echo hello; exit 5")))
                let (text, exit) = try await world.follow(process.pid)
                #expect(text == "hello\n")
                #expect(exit?.exitCode == 5)
                let known = try await world.client.process(world.sandbox.id, process.pid)
                #expect(!known.running)
                #expect(try await world.client.processes(world.sandbox.id).contains { $0.pid == process.pid })
            },
            Promise("output is replayed from any place") { world in
                let process = try await world.start(StartProcessRequest(cmd: .shell("printf 0123456789")))
                _ = try await world.follow(process.pid)
                #expect(try await world.follow(process.pid, from: 4).text == "456789")
            },
            Promise("input is taken piece by piece, until it is closed") { world in
                let process = try await world.start(
                    StartProcessRequest(cmd: .shell("while read l; do echo got $l; done; echo end"), stdin: true))
                try await world.client.writeInput(world.sandbox.id, process.pid, Array("one\n".utf8))
                try await world.client.writeInput(world.sandbox.id, process.pid, Array("two\n".utf8), close: true)
                #expect(try await world.follow(process.pid).text == "got one\ngot two\nend\n")
            },
            Promise("signals reach the whole group, and may be caught") { world in
                let process = try await world.start(
                    StartProcessRequest(
                        cmd: .shell("trap 'echo caught; exit 7' USR1; echo up; while :; do sleep 0.05; done")))
                _ = try await world.wait(for: "up", from: process.pid)
                try await world.client.signal(world.sandbox.id, process.pid, "SIGUSR1")
                let (text, exit) = try await world.follow(process.pid)
                #expect(text.hasSuffix("caught\n"))
                #expect(exit?.exitCode == 7)
            },
            Promise("killing a process kills what left its session") { world in
                let process = try await world.start(
                    StartProcessRequest(cmd: .shell("setsid sleep 4712 & echo up; sleep 4712")))
                _ = try await world.wait(for: "up", from: process.pid)
                try await world.client.killProcess(world.sandbox.id, process.pid)
                try await world.expect("pgrep -fx 'sleep 4712' | wc -l", prints: "0")
            },
            Promise("orphans are reaped") { world in
                _ = try await world.shell(
                    "for i in 1 2 3 4 5; do (setsid sh -c 'sleep 0.05; exit 3' &); done; sleep 0.5")
                try await world.expect("ps -eo stat= | grep -c '^Z'", prints: "0")
            },
            Promise("its own time-out ends a background process") { world in
                let process = try await world.start(
                    StartProcessRequest(cmd: .arguments(["sleep", "1000"]), timeoutSeconds: 0.3))
                #expect(try await world.follow(process.pid).exit?.timedOut == true)
            },
            Promise("an unknown process is told as such") { world in
                let error = await world.failure { _ = try await world.client.process(world.sandbox.id, 999_999) }
                #expect(error?.code == .notFound)
            },
        ])

    static let terminals = Topic(
        name: "terminals",
        promises: [
            Promise("a program finds a terminal of the size asked for") { world in
                let process = try await world.start(
                    StartProcessRequest(cmd: .shell("stty size; tty"), pty: TerminalSizeResource(rows: 33, cols: 101)))
                #expect(try await world.follow(process.pid).text.hasPrefix("33 101\r\n/dev/pts/"))
            },
            Promise("a new size is told to the program") { world in
                let process = try await world.start(
                    StartProcessRequest(
                        cmd: .arguments([
                            "/bin/bash", "-c", "trap 'stty size; exit' WINCH; echo up; while :; do sleep 0.05; done",
                        ]),
                        pty: TerminalSizeResource(rows: 10, cols: 20)))
                _ = try await world.wait(for: "up", from: process.pid)
                try await world.client.resize(world.sandbox.id, process.pid, rows: 44, columns: 55)
                #expect(try await world.follow(process.pid).text.contains("44 55"))
            },
            Promise("what is typed is echoed, and Ctrl-D ends") { world in
                let process = try await world.start(
                    StartProcessRequest(cmd: .arguments(["cat"]), pty: TerminalSizeResource(rows: 10, cols: 20)))
                try await world.client.writeInput(world.sandbox.id, process.pid, Array("word\n".utf8))
                _ = try await world.wait(for: "word\r\nword", from: process.pid)
                try await world.client.writeInput(world.sandbox.id, process.pid, [4])
                #expect(try await world.follow(process.pid).exit?.exitCode == 0)
            },
            Promise("Ctrl-C interrupts") { world in
                let process = try await world.start(
                    StartProcessRequest(
                        cmd: .shell("echo up; exec sleep 1000"), pty: TerminalSizeResource(rows: 9, cols: 9)))
                _ = try await world.wait(for: "up", from: process.pid)
                try await world.client.writeInput(world.sandbox.id, process.pid, [3])
                #expect(try await world.follow(process.pid).exit?.signal == "SIGINT")
            },
        ])
}
