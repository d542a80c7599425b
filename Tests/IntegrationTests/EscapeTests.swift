import Foundation
import Glibc
import LinuxSystem
import MartletAPI
import MartletClient
import SandboxModel
import Testing

/// What root in a sandbox can try, behind each wall. Much of it works in a kernel of its own; what must hold is that the
/// host and the neighbours see nothing of it, and go on answering.
@Suite(.serialized, .requiresDaemon, .timeLimit(.minutes(10))) struct EscapeTests {
    /// Something to try.
    private struct Attack {
        var name: String
        var script: String
        /// What the script must print.
        var prints: String?
        /// Whether the sandbox may be dead or silent afterwards: it is its own.
        var mayDie = false
    }

    /// The state of the host that no sandbox may change.
    private struct Host {
        var modules: Set<String>
        var mounts: Set<String>
        var name: String
        var domain: String
        var forwarding: String
        var corePattern: String
        var randomization: String
        var links: Set<String>

        static func now() throws -> Host {
            func read(_ path: String) throws -> String { try String(contentsOfFile: path, encoding: .utf8) }
            return Host(
                // A kernel without modules has no such file.
                modules: Set(
                    ((try? read("/proc/modules")) ?? "").split(separator: "\n").map { String($0.prefix { $0 != " " }) }),
                // Tests beside this one have mounts of their own in /tmp for a while.
                mounts: Set(
                    try read("/proc/self/mounts").split(separator: "\n").map(String.init).filter {
                        !$0.contains("martlet-")
                    }),
                name: try read("/proc/sys/kernel/hostname"), domain: try read("/proc/sys/kernel/domainname"),
                forwarding: try read("/proc/sys/net/ipv4/conf/lo/forwarding"),
                corePattern: try read("/proc/sys/kernel/core_pattern"),
                randomization: try read("/proc/sys/kernel/randomize_va_space"),
                links: Set(
                    try FileManager.default.contentsOfDirectory(atPath: "/sys/class/net").filter {
                        $0.hasPrefix("evil")
                    })
            )
        }

        /// What is not as it was.
        func changes(since before: Host) -> [String] {
            let texts = [
                (name, before.name), (domain, before.domain), (forwarding, before.forwarding),
                (corePattern, before.corePattern), (randomization, before.randomization),
            ]
            let sets = [(modules, before.modules), (mounts, before.mounts), (links, before.links)]
            return texts.filter { $0 != $1 }.map { "\($1) became \($0)" }
                + sets.flatMap { $0.symmetricDifference($1).sorted() }
        }
    }

    private static func attacks(_ wall: Wall, marker: String, abstract: String) -> [Attack] {
        attacks(marker: marker, abstract: abstract) + (wall.hasOwnKernel ? onItsKernel : onASharedKernel(wall))
    }

    /// What a kernel of its own lets root do.
    private static let onItsKernel = [
        Attack(
            name: "block devices", script: "ls /sys/block | grep -vE '^(loop|ram)' | tr '\\n' ' '", prints: "vda "),
        Attack(
            name: "mounts",
            script: "mkdir -p /m; mount -t tmpfs evil /m && mount --bind / /m && mount -o remount,ro / ; echo done",
            prints: "done", mayDie: true),
        Attack(name: "end of the machine", script: "echo b > /proc/sysrq-trigger; sleep 5", mayDie: true),
    ]

    /// What must be refused where the kernel is the host's, or one that many programs share.
    private static func onASharedKernel(_ wall: Wall) -> [Attack] {
        // Opened, not written to, where the kernel is the host's: if this wall failed, the host would be gone with the test.
        let end =
            wall == .gvisor
            ? Attack(name: "end of the machine", script: "echo b > /proc/sysrq-trigger", mayDie: true)
            : Attack(
                name: "end of the machine",
                script: "python3 -c 'import os\ntry: os.open(\"/proc/sysrq-trigger\", os.O_WRONLY); print(\"open\")\n"
                    + "except OSError: print(\"refused\")'", prints: "refused")
        return [
            end,
            Attack(
                name: "block devices",
                script: "cat /dev/vd* /dev/sd* /dev/nvme* /dev/loop* 2>/dev/null | head -c 1 | wc -c; "
                    + "mknod /tmp/disk b 7 0 2>/dev/null; head -c 1 /tmp/disk 2>/dev/null | wc -c", prints: "0\n0"),
            Attack(
                name: "mounts",
                script: "mkdir -p /m; if mount -t tmpfs evil /m 2>/dev/null && touch /m/x; then echo done; "
                    + "else echo refused; fi", prints: "refused"),
            Attack(
                name: "namespaces of its own",
                script:
                    "unshare -Urm sh -c 'mount -t proc none /proc; cat /proc/*/environ' 2>/dev/null | grep -c MARTLET_",
                prints: "0"),
            Attack(
                name: "control groups",
                script:
                    "mkdir -p /cg; mount -t cgroup2 none /cg 2>/dev/null; mount -t cgroup -o memory none /cg 2>/dev/null; "
                    + "for f in /sys/fs/cgroup/memory.max /sys/fs/cgroup/memory/memory.limit_in_bytes; do "
                    + "[ -e $f ] && echo -1 > $f && echo raised; done 2>/dev/null; ls /cg /sys/fs/cgroup 2>/dev/null "
                    + "| grep -c martlet", prints: "0"),
            Attack(
                name: "what a kernel is attacked through",
                script: "python3 -c 'import ctypes, errno\nc = ctypes.CDLL(None, use_errno=True)\n"
                    + "made = [n for n in (321, 298, 323, 425, 246, 320, 175, 313) if c.syscall(n, 0, 0, 0, 0, 0) >= 0]\n"
                    + "print(made)'", prints: "[]"),
        ]
    }

    private static func attacks(marker: String, abstract: String) -> [Attack] {
        [
            Attack(
                name: "host files",
                script: "ls -d \(marker) 2>/dev/null; grep -c . /proc/mounts >/dev/null; "
                    + "find / -xdev -name \(URL(fileURLWithPath: marker).lastPathComponent) | wc -l", prints: "0"),
            Attack(
                name: "processes of the host",
                script: "ls /proc | grep -cE '^\(getpid())$'; kill -9 \(getpid()) 2>&1 | tail -c 16"),
            Attack(name: "all processes it can name", script: "kill -9 -1; echo never", mayDie: true),
            Attack(
                name: "ptrace of the agent",
                script: "python3 -c 'import ctypes; c = ctypes.CDLL(None); print(c.ptrace(16, 1, 0, 0))'", mayDie: true),
            Attack(
                name: "modules",
                script: "modprobe dummy 2>/dev/null; insmod /lib/modules/evil.ko 2>/dev/null; "
                    + "ip link add evil0 type dummy 2>/dev/null; echo done", prints: "done"),
            Attack(
                name: "writes to /proc and /sys",
                script: "echo evil > /proc/sys/kernel/hostname; echo 1 > /proc/sys/net/ipv4/conf/lo/forwarding; "
                    + "echo core > /proc/sys/kernel/core_pattern; echo 0 > /proc/sys/kernel/randomize_va_space; echo done",
                prints: "done"),
            Attack(
                name: "raw devices",
                script: "for d in /dev/mem /dev/port /dev/kmsg /dev/vport*; do "
                    + "dd if=/dev/zero of=$d bs=1k count=1 2>/dev/null; done; echo done", prints: "done", mayDie: true),
            Attack(
                name: "the card's neighbours",
                script: "ip addr add 10.201.0.77/16 dev eth0 2>/dev/null; ip link set eth0 promisc on 2>/dev/null; "
                    + "ping -c1 -W1 10.201.0.1 >/dev/null 2>&1; echo done", prints: "done"),
            Attack(
                name: "keyrings",
                script: "python3 -c 'import ctypes; c = ctypes.CDLL(None); print(c.syscall(250, 6, -5, 0, 0, 0) and 1)'"
            ),
            Attack(
                name: "abstract sockets",
                script: "python3 -c 'import socket; s = socket.socket(socket.AF_UNIX); "
                    + "print(s.connect_ex(\"\\0\(abstract)\"))'", prints: "\(ECONNREFUSED)"),
            Attack(
                name: "metadata address",
                script: "python3 -c 'import socket; s = socket.socket(); s.settimeout(3)\n"
                    + "try: print(s.connect_ex((\"169.254.169.254\", 80)) != 0)\nexcept OSError: print(True)'",
                prints: "True"),
            Attack(
                name: "descriptors",
                script: "timeout 15 python3 -c 'import os, time\ntry:\n  while True: os.open(\"/dev/null\", 0)\n"
                    + "except OSError: time.sleep(5)'; echo over", prints: "over", mayDie: true),
            Attack(
                name: "memory",
                script: "python3 -c 'x = []\nwhile True: x.append(bytearray(1 << 24))' 2>/dev/null; echo survived",
                prints: "survived", mayDie: true),
            Attack(
                name: "disk",
                script: "i=0; while fallocate -l 256M /fill$i 2>/dev/null; do i=$((i+1)); done; "
                    + "[ $i -lt 40 ] && echo full; rm -f /fill*", prints: "full"),
            Attack(
                name: "fork bomb", script: "timeout 10 sh -c 'b() { b | b & b; }; b' >/dev/null 2>&1; echo over",
                mayDie: true),
        ]
    }

    @Test(arguments: Wall.allCases.filter(\.isInstalled))
    func `root in a sandbox reaches neither the host nor its neighbours`(_ wall: Wall)
        async throws
    {
        let marker = NSTemporaryDirectory() + "escape-\(UUID().uuidString.prefix(8))"
        try Data("the host's".utf8).write(to: URL(fileURLWithPath: marker))
        defer { try? FileManager.default.removeItem(atPath: marker) }
        // A listener whose name is in no file system: only the network namespace keeps it apart.
        let abstract = "escape-\(UUID().uuidString.prefix(8))"
        let listener = try Self.listen(abstract: abstract)
        defer { close(listener) }
        try await DaemonFixture.with(["--pool-warm", "1"]) { fixture in
            let neighbour = try await fixture.create(
                CreateSandboxRequest(name: "neighbour", timeoutSeconds: 3600, isolation: wall.rawValue))
            _ = try await fixture.output(neighbour, "echo mine > /root/file; sleep 1000 >/dev/null 2>&1 &")
            let before = try Host.now()
            for attack in EscapeTests.attacks(wall, marker: marker, abstract: abstract) {
                let attacker = try await fixture.create(CreateSandboxRequest(isolation: wall.rawValue))
                // A program that does not end is ended with its group; a machine that is gone is an error. Both are fine
                // where it may die.
                let outcome = try? await fixture.shell(attacker, attack.script, timeoutSeconds: 90)
                if !attack.mayDie {
                    #expect(outcome?.timedOut == false, "\(attack.name): \(String(describing: outcome))")
                }
                if let wanted = attack.prints, let outcome {
                    let said = (outcome.stdout ?? "").trimmingCharacters(in: .newlines)
                    #expect(
                        said.hasSuffix(wanted.trimmingCharacters(in: .newlines)) || (attack.mayDie && said.isEmpty),
                        "\(attack.name): \(said) \(outcome.stderr ?? "")")
                }
                #expect(try await fixture.output(neighbour, "cat /root/file") == "mine", "\(attack.name)")
                #expect(
                    try await fixture.shell(neighbour, "head -c 1000 /dev/zero > /root/more && pgrep -c sleep")
                        .exitCode == 0, "\(attack.name)")
                let changes = try Host.now().changes(since: before)
                #expect(changes.isEmpty, "\(attack.name)")
                try? await fixture.client.deleteSandbox(attacker.id)
            }
            #expect(try await fixture.client.sandbox("neighbour").state == .running)
            #expect(fixture.machineDirectories().count >= 1)
        }
    }

    /// The same while the attack goes on: four sandboxes do their worst, and a fifth one answers.
    @Test(arguments: Wall.allCases.filter(\.isInstalled))
    func `a sandbox answers while its neighbours take all they can`(
        _ wall: Wall
    ) async throws {
        try await DaemonFixture.with { fixture in
            let request = CreateSandboxRequest(isolation: wall.rawValue)
            let neighbour = try await fixture.create(request)
            let scripts = [
                "while :; do :; done & while :; do :; done", "b() { b | b & b; }; b",
                "python3 -c 'x = []\nwhile True: x.append(bytearray(1 << 22))'",
                "while :; do dd if=/dev/zero of=/fill bs=1M count=200 conv=fsync 2>/dev/null; done",
            ]
            for script in scripts {
                let attacker = try await fixture.create(request)
                _ = try await fixture.client.startProcess(attacker.id, StartProcessRequest(cmd: .shell(script)))
            }
            for round in 0..<10 {
                #expect(try await fixture.output(neighbour, "echo \(round)") == "\(round)")
            }
            guard wall.hasOwnKernel else {
                // gVisor may end a sandbox that its own programs have used up.
                #expect((1...scripts.count + 1).contains(fixture.containers()))
                return
            }
            let machines = fixture.machines()
            #expect(machines.count == scripts.count + 1)
            for machine in machines {
                let limits = try String(contentsOfFile: "/proc/\(machine.pid)/cgroup", encoding: .utf8)
                #expect(limits.contains("/martlet/"), "a machine is in no group of its own: \(limits)")
                let status = try String(contentsOfFile: "/proc/\(machine.pid)/status", encoding: .utf8)
                for line in ["CapEff:\t0000000000000000", "CapBnd:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2"]
                {
                    #expect(status.contains(line), "\(line): \(status)")
                }
                #expect(!status.contains("Uid:\t0\t"))
                for kind in ["mnt", "pid", "ipc", "uts", "net"] {
                    let (own, host) = ("/proc/\(machine.pid)/ns/\(kind)", "/proc/self/ns/\(kind)")
                    let manager = FileManager.default
                    #expect(
                        try manager.destinationOfSymbolicLink(atPath: own)
                            != manager.destinationOfSymbolicLink(atPath: host), "\(kind)")
                }
            }
        }
    }

    private static func listen(abstract name: String) throws -> Int32 {
        let listener = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { path in
            for (index, byte) in name.utf8.enumerated() { path[index + 1] = byte }
        }
        let length = socklen_t(MemoryLayout<sa_family_t>.size + 1 + name.utf8.count)
        let bound = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { bind(listener, $0, length) }
        }
        guard bound == 0, Glibc.listen(listener, 4) == 0 else {
            throw SystemError("listen", "abstract socket", errno: errno)
        }
        return listener
    }
}
