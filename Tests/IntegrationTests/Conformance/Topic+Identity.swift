import Foundation
import MartletAPI
import MartletClient
import NIOCore
import SandboxModel
import Testing

extension Topic {
    static let identity = Topic(
        name: "identity",
        promises: [
            Promise("programs are root unless asked otherwise") { world in
                try await world.expect("id -u; id -g; echo $HOME", prints: "0\n0\n/root")
            },
            Promise("programs run as the user asked for") { world in
                let result = try await world.run(
                    ExecRequest(cmd: .shell("id -un; id -u; echo $HOME; touch /root/x"), user: "user"))
                #expect(result.stdout == "user\n1000\n/home/user\n")
                #expect(result.exitCode != 0)
            },
            Promise("a user by number needs no account") { world in
                try await world.expect(ExecRequest(cmd: .arguments(["id", "-u"]), user: "12345"), prints: "12345\n")
            },
            Promise("an unknown user is refused") { world in
                let error = await world.failure {
                    _ = try await world.run(ExecRequest(cmd: .arguments(["id"]), user: "nobody-knows"))
                }
                #expect(error?.code == .invalidArgument)
            },
            Promise("root may change who owns what") { world in
                try await world.expect("touch /tmp/o; chown 1000:1000 /tmp/o; stat -c %u /tmp/o", prints: "1000")
            },
            Promise("the environment is the sandbox's, then the command's") { world in
                let other = try await world.create { $0.env = ["A": "1", "B": "2"] }
                let result = try await world.run(
                    ExecRequest(cmd: .shell("echo $A $B $C"), env: ["B": "two", "C": "3"]), in: other)
                #expect(result.stdout == "1 two 3\n")
                try await world.client.deleteSandbox(other.id)
            },
            Promise("names and machine ids are its own, and looked up") { world in
                let other = try await world.create { $0.name = "conformer" }
                try await world.expect("hostname; cat /etc/hostname", in: other, prints: "conformer\nconformer")
                try await world.expect("getent hosts $(hostname) | wc -l", in: other, prints: "1")
                let ids = [
                    try await world.output("cat /etc/machine-id"),
                    try await world.output("cat /etc/machine-id", in: other),
                ]
                #expect(ids[0].count == 32 && ids[0] != ids[1])
                try await world.client.deleteSandbox(other.id)
            },
            Promise("the time is right, and randomness nobody else's") { world in
                let before = Date().timeIntervalSince1970
                let guest = try #require(Double(try await world.output("date +%s.%N")))
                #expect(guest > before - 1 && guest < Date().timeIntervalSince1970 + 1)
                let draw = "head -c 16 /dev/urandom | od -An -tx1"
                #expect(try await world.output(draw) != world.output(draw))
                #expect(try await world.output("cat /run/martlet/generation").count == 32)
            },
        ])

    static let limits = Topic(
        name: "limits",
        promises: [
            Promise("a memory bomb ends alone") { world in
                let script = "b=[]\nwhile True: b.append(bytearray(1<<20))"
                let result = try await world.run(
                    ExecRequest(cmd: .arguments(["python3", "-c", script]), timeoutSeconds: 120))
                #expect(result.exitCode != 0 && !result.timedOut)
                try await world.expect("echo alive", prints: "alive")
            },
            Promise("a memory bomb that reads its files all the while ends, too") { world in
                // The kernel finds pages to drop as long as they are read again: it need never be out of memory.
                let script =
                    """
                    import threading
                    with open("/root/again", "wb") as f:
                        for _ in range(48): f.write(bytes(1<<20))
                    def read():
                        f = open("/root/again", "rb")
                        while True:
                            f.seek(0)
                            while f.read(1<<16): pass
                    threading.Thread(target=read, daemon=True).start()
                    b=[]
                    while True: b.append(bytearray(1<<18))
                    """
                let result = try await world.run(
                    ExecRequest(cmd: .arguments(["python3", "-c", script]), timeoutSeconds: 60))
                #expect(result.exitCode != 0 && !result.timedOut)
                try await world.expect("rm /root/again; echo alive", prints: "alive")
            },
            Promise("programs get most of the memory asked for") { world in
                let other = try await world.create { $0.memoryMiB = 512 }
                let script = "b=bytearray(300<<20)\nfor i in range(0,len(b),4096): b[i]=1\nprint('held')"
                try await world.expect(
                    ExecRequest(cmd: .arguments(["python3", "-c", script])), in: other, prints: "held\n")
                try await world.client.deleteSandbox(other.id)
            },
            Promise("a fork bomb stays within its limit") { world in
                let other = try await world.create()
                // The shell becomes what waits: another process it might not get.
                let line = "bomb() { bomb | bomb & }; bomb; exec sleep 600"
                // gVisor's kernel takes longer to have as many tasks as it may.
                let bomb = try await world.shell(line, in: other, seconds: world.wall == .gvisor ? 25 : 4)
                #expect(bomb.timedOut)
                try await world.expect("echo alive", in: other, prints: "alive")
                try await world.expect("echo alive", prints: "alive")
                try await world.client.deleteSandbox(other.id)
            },
            Promise("a full disk is the program's error, and goes away") { world in
                let other = try await world.create()
                let fill = try await world.shell(
                    "dd if=/dev/zero of=/full bs=16M 2>&1 | grep -c 'No space'", in: other, seconds: 300)
                #expect(fill.stdout == "1\n")
                let error = await world.failure {
                    try await world.client.upload(other.id, "/big", bytes: [UInt8](repeating: 7, count: 8 << 20))
                }
                #expect(error?.code == .resourceExhausted)
                try await world.expect("rm /full; echo ok > /x && cat /x", in: other, prints: "ok")
                try await world.client.deleteSandbox(other.id)
            },
            Promise("a larger disk is there when the sandbox is") { world in
                let other = try await world.create { $0.diskMiB = 8192 }
                let size = try #require(
                    Int(try await world.output("df --output=size -BM / | tail -1 | tr -dc 0-9", in: other)))
                #expect(size > 7400 && size <= 8192)
                try await world.client.deleteSandbox(other.id)
            },
            Promise("many descriptors are no harm") { world in
                let script =
                    """
                    import os
                    f=[]
                    try:
                      while len(f)<200000: f.append(os.dup(0))
                    except OSError: pass
                    print(len(f)>1000)
                    """
                try await world.expect(ExecRequest(cmd: .arguments(["python3", "-c", script])), prints: "True\n")
                try await world.expect("echo alive", prints: "alive")
            },
        ])

    static let facts = Topic(
        name: "facts",
        promises: [
            Promise("metrics tell of the sandbox, not of the host") { world in
                let metrics = try await world.client.metrics(world.sandbox.id)
                let mebibytes = metrics.memoryTotalBytes >> 20
                #expect(mebibytes > 128 && mebibytes <= UInt64(world.sandbox.memoryMiB))
                #expect(metrics.memoryAvailableBytes <= metrics.memoryTotalBytes)
                #expect(metrics.diskTotalBytes >> 20 <= UInt64(world.sandbox.diskMiB))
                #expect(metrics.processes > 0 && metrics.processes < 200)
            },
            Promise("work shows in the metrics") { world in
                let before = try await world.client.metrics(world.sandbox.id)
                _ = try await world.shell("i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done")
                let after = try await world.client.metrics(world.sandbox.id)
                #expect(
                    after.cpuUserMilliseconds + after.cpuSystemMilliseconds > before.cpuUserMilliseconds
                        + before.cpuSystemMilliseconds)
                #expect(after.uptimeMilliseconds > before.uptimeMilliseconds)
            },
            Promise("memory in use shows") { world in
                let before = try await world.client.metrics(world.sandbox.id)
                let script =
                    """
                    import time
                    b=bytearray(64<<20)
                    for i in range(0,len(b),4096): b[i]=1
                    print('held',flush=True)
                    time.sleep(600)
                    """
                let holder = try await world.start(StartProcessRequest(cmd: .arguments(["python3", "-c", script])))
                _ = try await world.wait(for: "held", from: holder.pid)
                let during = try await world.client.metrics(world.sandbox.id)
                #expect(during.memoryAvailableBytes + (48 << 20) < before.memoryAvailableBytes)
                try await world.client.killProcess(world.sandbox.id, holder.pid)
            },
            Promise("the console can be read") { world in
                // A restored guest has said nothing since; what was started has.
                let console = try await world.client.consoleLog(world.sandbox.id)
                #expect(console.count <= 65_536 && (world.wall.hasOwnKernel || !console.isEmpty))
            },
            Promise("the level is told, and it is the engine's") { world in
                #expect(world.sandbox.isolation.engine == world.wall.engine)
                let host = try await world.client.host()
                let engine = try #require(host.engines.first { $0.name == world.wall.engine })
                #expect(engine.available)
                #expect(engine.level == world.sandbox.isolation.level)
                #expect(Set((engine.capabilities ?? []).map(\.rawValue)) == world.wall.capabilities)
            },
        ])
}
