import Foundation
import LinuxSystem
import MartletAPI
import MartletClient
import SandboxModel
import Testing

/// Root in a sandbox takes the agent's place: stops it, takes the descriptor of its port, and speaks to the daemon itself.
@Suite(.serialized, .requiresDaemon, .timeLimit(.minutes(5))) struct HostileAgentTests {
    /// What is said to the daemon instead.
    enum Manner: String, CaseIterable {
        /// Nothing, for ever.
        case silence
        case garbage
        /// All that the port takes, without end.
        case flood
        /// Frames whose length is more than there may be, more than comes, or wraps around.
        case lengths
        /// Whole frames of streams nobody has opened, of every kind there is and is not.
        case frames
        /// What the daemon says is said back to it.
        case echo
        /// Marks by which a connection begins anew, with and without an end.
        case marks
    }

    private static let script = #"""
        import ctypes, os, random, select, struct, sys, time
        c = ctypes.CDLL(None, use_errno=True)
        def call(number, *words):
            result = c.syscall(ctypes.c_long(number), *[ctypes.c_long(word) for word in words])
            if result < 0: raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
            return result
        def port():
            for name in os.listdir("/proc/1/fd"):
                try:
                    if "vport" in os.readlink("/proc/1/fd/" + name): return int(name)
                except OSError: pass
        number = port()
        agent = call(434, 1, 0)                # pidfd_open
        taken = call(438, agent, number, 0)    # pidfd_getfd
        print("taken", flush=True)
        if os.fork(): os._exit(0)
        os.setsid()
        null = os.open("/dev/null", os.O_RDWR)
        for standard in (0, 1, 2): os.dup2(null, standard)
        time.sleep(0.5)                        # the daemon hears that this program has ended
        if c.ptrace(16, 1, 0, 0) < 0: os._exit(3)
        os.waitpid(1, 0x40000000)
        os.set_blocking(taken, False)
        def say(data):
            while data:
                try: data = data[os.write(taken, data):]
                except BlockingIOError: select.select([], [taken], [], 1)
        def frame(length, stream, kind, flags, body):
            return struct.pack("<IIBBH", length, stream, kind, flags, 0x544D) + body + struct.pack("<I", 0x7E544C4D)
        manner, generator = sys.argv[1], random.Random(7)
        if manner == "garbage":
            for _ in range(200): say(generator.randbytes(65536))
        if manner == "flood":
            zeros, ones = bytes(65536), b"\xff" * 65536
            while True: say(zeros); say(ones)
        if manner == "lengths":
            for length in [0xFFFFFFFF, 0x80000000, 65537, 1 << 24, 65536, 1]:
                say(frame(length, 1, 3, 0, b"x" * 10))
        if manner == "frames":
            while True:
                body = generator.randbytes(generator.randrange(64))
                say(frame(len(body), generator.randrange(1 << 32) if generator.random() < 0.5 else generator.randrange(64),
                    generator.randrange(256) if generator.random() < 0.3 else generator.randrange(1, 8),
                    generator.randrange(256), body))
        if manner == "echo":
            while True:
                try: said = os.read(taken, 65536)
                except BlockingIOError: select.select([taken], [], [], 1); continue
                if said: say(said)
                else: time.sleep(0.01)
        if manner == "marks":
            while True: say(b"\xff\xff\xff\xff" + generator.randbytes(generator.randrange(40)))
        time.sleep(1000)
        """#

    @Test(arguments: Manner.allCases) func `a hostile agent costs its own sandbox only`(manner: Manner) async throws {
        try await DaemonFixture.with { fixture in
            let neighbour = try await fixture.create()
            let sandbox = try await fixture.create()
            let daemon = try #require(fixture.process)
            let before = try daemon.memory().private
            _ = try await fixture.client.exec(
                sandbox.id,
                ExecRequest(cmd: .shell("cat > /tmp/hostile.py"), stdin: HostileAgentTests.script))
            let taken = try await fixture.shell(sandbox, "python3 /tmp/hostile.py \(manner.rawValue) </dev/null 2>&1")
            #expect(taken.stdout?.hasPrefix("taken") == true, "\(taken)")
            // For as long as the agent still has the port its answers are honest ones; then there are none, or others.
            var refusals = 0
            for _ in 0..<400 where refusals < 2 {
                let answer = try? await fixture.client.exec(
                    sandbox.id, ExecRequest(cmd: .shell("echo honest"), timeoutSeconds: 2))
                if answer?.stdout != "honest\n" { refusals += 1 }
                #expect(try await fixture.output(neighbour, "echo \(manner)") == "\(manner)")
            }
            #expect(refusals > 0, "the agent was never replaced")
            #expect(try daemon.memory().private < before + 64 << 20, "the daemon keeps what it is told")
            #expect(!daemon.hasEnded)
            #expect(try await fixture.client.sandbox(neighbour.id).state == .running)
            try? await fixture.client.deleteSandbox(sandbox.id)
            await #expect(throws: MartletError.self) { try await fixture.client.sandbox(sandbox.id) }
            #expect(fixture.machines().count == 1)
        }
    }
}
