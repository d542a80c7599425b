import Foundation
import MartletAPI
import MartletClient
import NIOCore
import SandboxModel
import Testing

extension ConformanceWorld {
    /// Whether something works, or is refused as what the engine does not have, as its capabilities say.
    fileprivate func supports(_ capability: String, _ body: () async throws -> Void) async throws {
        guard !wall.capabilities.contains(capability) else { return try await body() }
        let error = await failure(body)
        #expect(error?.code == .unsupported, "\(error.map { "\($0)" } ?? "it worked")")
        #expect(error?.message.contains(wall.engine) == true)
        #expect(error?.message.contains("microvm") == true)
        // Refused, and nothing has happened to the sandbox.
        #expect(try await output("echo still here") == "still here")
    }
}

extension Topic {
    static let captures = Topic(
        name: "captures",
        promises: [
            Promise("snapshots, or the reason why not") { world in
                _ = try await world.output("echo before > /tmp/state")
                try await world.supports("snapshots") {
                    let snapshot = try await world.client.createSnapshot(of: world.sandbox.id)
                    _ = try await world.output("echo after > /tmp/state")
                    let copy = try await world.client.createSandbox(CreateSandboxRequest(fromSnapshot: snapshot.id))
                    try await world.expect("cat /tmp/state", in: copy, prints: "before")
                    try await world.client.deleteSandbox(copy.id)
                    _ = try await world.client.deleteSnapshot(snapshot.id)
                }
            },
            Promise("forks, or the reason why not") { world in
                try await world.supports("fork") {
                    let result = try await world.client.forkSandbox(world.sandbox.id, ForkSandboxRequest(count: 2))
                    let children = result.forks.compactMap { $0.sandbox }
                    #expect(children.count == 2)
                    for child in children { try await world.client.deleteSandbox(child.id) }
                }
            },
            Promise("what runs goes on in a fork, and in the parent, or the reason why not") { world in
                let resident = try await Resident.start(in: world)
                let before = try await resident.ask("parent")
                try await world.supports("fork") {
                    let result = try await world.client.forkSandbox(world.sandbox.id, ForkSandboxRequest(count: 2))
                    let children = result.forks.compactMap { $0.sandbox }
                    #expect(children.count == 2)
                    for (index, child) in children.enumerated() {
                        let answer = try await resident.ask("child\(index)", in: child)
                        #expect(answer.secret == before.secret)
                        #expect(answer.count >= before.count)
                        // Written through a file, and a terminal, that were open before.
                        #expect(answer.file == "parent,child\(index)")
                        #expect(answer.terminal == "child\(index)")
                        try await world.client.deleteSandbox(child.id)
                    }
                    let later = try await resident.ask("again")
                    #expect(later.secret == before.secret)
                    #expect(later.file == "parent,again")
                }
                try await world.client.killProcess(world.sandbox.id, resident.pid)
            },
            Promise("a fork is somebody else, or the reason why not") { world in
                let facts = "hostname; cat /etc/machine-id /run/martlet/generation; grep -c 127.0.1.1 /etc/hosts"
                let parent = try await world.output(facts).split(separator: "\n")
                try await world.supports("fork") {
                    let result = try await world.client.forkSandbox(
                        world.sandbox.id, ForkSandboxRequest(count: 2, env: ["WHOSE": "theirs"]))
                    var seen = [parent]
                    for child in result.forks.compactMap(\.sandbox) {
                        let own = try await world.output(facts, in: child).split(separator: "\n")
                        #expect(own.count == 4 && own[3] == "1")
                        for other in seen { for index in 0..<3 { #expect(own[index] != other[index]) } }
                        seen.append(own)
                        try await world.expect("echo $WHOSE", in: child, prints: "theirs")
                        let time = Double(try await world.output("date +%s", in: child)) ?? 0
                        #expect(abs(time - Foundation.Date().timeIntervalSince1970) < 30)
                        try await world.client.deleteSandbox(child.id)
                    }
                    #expect(seen.count == 3)
                    #expect(try await world.output(facts).split(separator: "\n") == parent)
                }
            },
            Promise("what follows a command goes on beside a capture, or the reason why not") { world in
                let speaker = try await world.start(
                    StartProcessRequest(
                        cmd: .shell("for i in $(seq 1 60); do echo line $i; sleep 0.05; done")))
                let following = Task { try await world.follow(speaker.pid) }
                _ = try await world.wait(for: "line 3\n", from: speaker.pid)
                try await world.supports("snapshots") {
                    let snapshot = try await world.client.createSnapshot(of: world.sandbox.id)
                    _ = try await world.client.deleteSnapshot(snapshot.id)
                }
                let (text, exit) = try await following.value
                #expect(text == (1...60).map { "line \($0)\n" }.joined())
                #expect(exit?.exitCode == 0)
            },
            Promise("a rewind takes files and programs back, or the reason why not") { world in
                try await world.supports("snapshots") {
                    let other = try await world.create { $0.record = true }
                    let first = try await world.shell("echo one > /root/state; (setsid sleep 4716 &)", in: other)
                    _ = try await world.shell("echo two > /root/state; pkill -f 'sleep 471[6]'", in: other)
                    let number = try #require(first.checkpoint)
                    _ = try await world.client.rewindSandbox(other.id, to: number)
                    try await world.expect(
                        "cat /root/state; pgrep -fx 'sleep 4716' | wc -l", in: other, prints: "one\n1")
                    try await world.client.deleteSandbox(other.id)
                }
            },
            Promise("a snapshot outlives its sandbox, or the reason why not") { world in
                try await world.supports("snapshots") {
                    let other = try await world.create()
                    _ = try await world.output("echo kept > /root/kept; echo held > /run/held", in: other)
                    let snapshot = try await world.client.createSnapshot(of: other.id)
                    try await world.client.deleteSandbox(other.id)
                    for _ in 0..<2 {
                        let copy = try await world.client.createSandbox(
                            CreateSandboxRequest(fromSnapshot: snapshot.id))
                        #expect(copy.isolation.engine == world.wall.engine)
                        try await world.expect("cat /root/kept /run/held", in: copy, prints: "kept\nheld")
                        _ = try await world.output("echo changed > /root/kept", in: copy)
                        try await world.client.deleteSandbox(copy.id)
                    }
                    _ = try await world.client.deleteSnapshot(snapshot.id)
                }
            },
            Promise("pause and resume, or the reason why not") { world in
                let holder = try await world.start(StartProcessRequest(cmd: .arguments(["sleep", "4714"])))
                try await world.supports("pause") {
                    let paused = try await world.client.pauseSandbox(world.sandbox.id)
                    #expect(paused.state == .paused)
                    let resumed = try await world.client.resumeSandbox(world.sandbox.id)
                    #expect(resumed.state == .running)
                }
                #expect(try await world.client.process(world.sandbox.id, holder.pid).running)
            },
            Promise("a boot from disk, or the reason why not") { world in
                _ = try await world.output("echo kept > /root/kept; sync")
                try await world.supports("reboot") {
                    _ = try await world.client.resumeSandbox(world.sandbox.id, ResumeSandboxRequest(from: .disk))
                    try await world.expect("cat /root/kept", prints: "kept")
                }
            },
            Promise("recording, or the reason why not") { world in
                try await world.supports("snapshots") {
                    let other = try await world.create { $0.record = true }
                    #expect(try await world.shell("true", in: other).checkpoint != nil)
                    try await world.client.deleteSandbox(other.id)
                }
            },
            Promise("pausing at the time-out, or the reason why not, at once") { world in
                try await world.supports("pause") {
                    let other = try await world.create { $0.onTimeout = .pause }
                    try await world.client.deleteSandbox(other.id)
                }
                try await world.supports("pause") {
                    _ = try await world.client.updateSandbox(world.sandbox.id, UpdateSandboxRequest(onTimeout: .pause))
                }
            },
        ])

    static let wall = Topic(
        name: "wall",
        promises: [
            Promise("files of the host are not there") { world in
                let path = "\(world.fixture.data)/api-key"
                try await world.expect(
                    "ls '\(path)' 2>/dev/null | wc -l; ls /proc/1/root\(path) 2>/dev/null | wc -l", prints: "0\n0")
            },
            Promise("processes of the host are not there") { world in
                try await world.expect(
                    "ps -e -o args= | grep -c '[m]artlet serve\\|[q]emu-system\\|[b]wrap\\|[r]unsc'", prints: "0")
                try await world.expect("test $(ps -e | wc -l) -lt 100 && echo few", prints: "few")
            },
            Promise("sandboxes do not see each other") { world in
                let other = try await world.create()
                _ = try await world.shell("echo secret > /tmp/secret; (setsid sleep 4715 &)", in: other)
                try await world.expect(
                    "ls /tmp/secret 2>/dev/null | wc -l; pgrep -fx 'sleep 4715' | wc -l", prints: "0\n0")
                try await world.client.deleteSandbox(other.id)
            },
            Promise("sockets without a path are its own") { world in
                let listen =
                    """
                    import socket,time
                    s=socket.socket(socket.AF_UNIX)
                    s.bind('\\0martlet-conformance')
                    s.listen()
                    print('up',flush=True)
                    time.sleep(600)
                    """
                let server = try await world.start(StartProcessRequest(cmd: .arguments(["python3", "-c", listen])))
                _ = try await world.wait(for: "up", from: server.pid)
                let other = try await world.create()
                let connect =
                    """
                    import socket
                    try:
                      socket.socket(socket.AF_UNIX).connect('\\0martlet-conformance'); print('reached')
                    except OSError: print('refused')
                    """
                try await world.expect(
                    ExecRequest(cmd: .arguments(["python3", "-c", connect])), in: other, prints: "refused\n")
                try await world.expect(ExecRequest(cmd: .arguments(["python3", "-c", connect])), prints: "reached\n")
                try await world.client.deleteSandbox(other.id)
                try await world.client.killProcess(world.sandbox.id, server.pid)
            },
            Promise("the agent cannot be looked into or stopped by users") { world in
                let result = try await world.run(
                    ExecRequest(
                        cmd: .shell("kill -9 1 2>/dev/null; head -c 1 /proc/1/mem >/dev/null 2>&1 && echo read; true"),
                        user: "user"))
                #expect(result.stdout == "")
                try await world.expect("echo alive", prints: "alive")
            },
            Promise("no user becomes root again") { world in
                let result = try await world.run(
                    ExecRequest(
                        cmd: .shell("cp /bin/bash /tmp/b 2>/dev/null; chmod u+s /tmp/b; /tmp/b -p -c 'id -u'"),
                        user: "user"))
                #expect(result.stdout == "1000\n")
            },
            Promise("the host's clock cannot be set") { world in
                let before = Foundation.Date().timeIntervalSince1970
                _ = try await world.shell("date -s '2001-01-01' >/dev/null 2>&1; true")
                #expect(Foundation.Date().timeIntervalSince1970 >= before)
                if !world.wall.hasOwnKernel { #expect(try await world.output("date +%Y") != "2001") }
            },
            Promise("the host is well after all of it") { world in
                let other = try await world.create()
                try await world.expect("echo fine", in: other, prints: "fine")
                try await world.client.deleteSandbox(other.id)
            },
        ])
}
