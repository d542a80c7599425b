import Foundation
import GuestClient
import GuestProtocol
import Node
import SandboxModel
import Testing

/// Hazards 1, 3 and 4: what a child must not have in common with its parent and its siblings.
@Suite(.serialized, .requiresTemplate, .timeLimit(.minutes(5))) struct IdentityTests {
    @Test func `children and parent never draw the same random numbers`() async throws {
        try await NodeFixture.with { fixture in
            let parent = try await fixture.create()
            // What the kernel gives is fresh by itself. What a program keeps of its own is its own state: such a one
            // starts afresh when the generation changes, as Python's and OpenSSL's generators do here.
            try await fixture.startResident(
                """
                import random, secrets, ssl, uuid
                seen = None
                def answer(question):
                    global seen
                    now = open('/run/martlet/generation').read()
                    if now != seen:
                        random.seed()
                        ssl.RAND_add(os.urandom(32), 32)
                        seen = now
                    return '\\n'.join([os.urandom(16).hex(), str(uuid.uuid4()), secrets.token_hex(16),
                        os.getrandom(16).hex(), ssl.RAND_bytes(16).hex(), str(random.random())])
                """, in: parent)
            _ = try await fixture.ask("before", in: parent)
            let children = try await fixture.fork(.sandbox(parent.id), 3)
            var drawn: [String] = []
            for sandbox in children + [parent] {
                let resident = try await fixture.ask("after", in: sandbox)
                let fresh = try await fixture.shell(
                    """
                    python3 -c 'import os, secrets, uuid, random
                    print(os.urandom(16).hex(), uuid.uuid4(), secrets.token_hex(16), random.random(), sep="\\n")'
                    head -c 16 /dev/urandom | od -An -tx1
                    cat /proc/sys/kernel/random/uuid /run/martlet/generation
                    ssh-keygen -q -t ed25519 -N "" -C "" -f /tmp/key && cat /tmp/key.pub
                    openssl ecparam -name prime256v1 -genkey -noout | openssl ec -pubout 2>/dev/null | sed -n 2p
                    openssl rand -hex 16
                    """, in: sandbox)
                let lines = (resident + "\n" + fresh).split(separator: "\n").map(String.init)
                #expect(lines.count == 16, "\(lines)")
                drawn += lines
            }
            #expect(Set(drawn).count == drawn.count, "something was drawn twice: \(drawn.sorted())")
            try await fixture.destroy(children + [parent])
        }
    }

    @Test func `every child has a name, a machine id and host keys of its own`() async throws {
        try await NodeFixture.with { fixture in
            let parent = try await fixture.create()
            let keys = "cat /etc/ssh/ssh_host_*_key.pub | cut -d' ' -f1,2 | sort"
            _ = try await fixture.shell(
                """
                mkdir -p /etc/ssh
                for kind in ed25519 ecdsa; do ssh-keygen -q -t $kind -N '' -f /etc/ssh/ssh_host_${kind}_key; done
                """, in: parent)
            let original = Set(try await fixture.shell(keys, in: parent).split(separator: "\n"))
            #expect(original.count == 2)
            let names = "hostname; cat /etc/hostname /etc/machine-id"
            let parents = try await fixture.shell(names, in: parent)
            let children = try await fixture.fork(.sandbox(parent.id), 3)
            var (machineIDs, allKeys) = (Set<Substring>(), original)
            for child in children {
                // From the first moment on the parent's are not there, whether or not new ones are.
                let first = try await fixture.shell("cat /etc/ssh/ssh_host_*_key* 2>/dev/null || true", in: child)
                for key in original { #expect(!first.contains(key), "a child has its parent's host key") }
                let lines = try await fixture.shell(names, in: child).split(separator: "\n")
                #expect(lines[0] == child.id.rawValue && lines[1] == child.id.rawValue)
                #expect(lines.count == 3 && lines[2].count == 32)
                machineIDs.insert(lines[2])
                let hosts = try await fixture.shell("cat /etc/hosts", in: child)
                #expect(hosts.contains(child.id.rawValue) && !hosts.contains(parent.id.rawValue))
                #expect(
                    try await fixture.shell("getent hosts $(hostname) | awk '{print $2}'", in: child)
                        == child.id.rawValue)
                let renewed = try await fixture.shell(
                    """
                    cd /etc/ssh; tries=0
                    until [ -s ssh_host_ed25519_key.pub ] && [ -s ssh_host_ecdsa_key.pub ]; do
                        tries=$((tries + 1)); [ $tries -lt 600 ] || exit 1; sleep 0.05
                    done
                    \(keys)
                    """, in: child)
                allKeys.formUnion(Set(renewed.split(separator: "\n")))
            }
            #expect(machineIDs.count == 3 && !parents.contains(machineIDs.first!))
            #expect(allKeys.count == 2 + 3 * 2, "host keys are shared")
            #expect(try await fixture.shell(names, in: parent) == parents)
            #expect(Set(try await fixture.shell(keys, in: parent).split(separator: "\n")) == original)
            try await fixture.destroy(children + [parent])
        }
    }

    @Test func `a child has its parent's secrets only if asked for`() async throws {
        try await NodeFixture.with { fixture in
            let secret = "correct-horse-\(UInt64.random(in: 0 ... .max))"
            let look = "echo ${TOKEN-none} ${LANG-none} ${OTHER-none}"
            let parent = try await fixture.create(environment: ["TOKEN=\(secret)"])
            #expect(try await fixture.shell(look, in: parent) == "\(secret) C.UTF-8 none")
            let snapshot = try await fixture.node.snapshot(parent.id, as: SnapshotSpec(id: .random()))
            for file in ["manifest.json", "device-state"] {
                let path = "\(fixture.directory)/snapshots/\(snapshot.id)/\(file)"
                let bytes = try Data(contentsOf: URL(fileURLWithPath: path))
                #expect(bytes.range(of: Data(secret.utf8)) == nil, "\(file) holds the environment")
            }
            for source in [ForkSource.sandbox(parent.id), .snapshot(snapshot.id)] {
                let specs = [
                    ForkSpec(id: .random(), hostname: "a"),
                    ForkSpec(id: .random(), hostname: "b", environment: ["OTHER=own"]),
                    ForkSpec(id: .random(), hostname: "c", environment: ["OTHER=own"], inheritsEnvironment: true),
                ]
                let children = try await fixture.node.fork(source, into: specs).children.map { try $0.get() }
                #expect(try await fixture.shell(look, in: children[0]) == "none C.UTF-8 none")
                #expect(try await fixture.shell(look, in: children[1]) == "none C.UTF-8 own")
                #expect(try await fixture.shell(look, in: children[2]) == "\(secret) C.UTF-8 own")
                // A child's own child gets nothing from its grandparent either.
                let grandchild = try await fixture.fork(.sandbox(children[2].id))[0]
                #expect(try await fixture.shell(look, in: grandchild) == "none C.UTF-8 none")
                try await fixture.destroy(children + [grandchild])
            }
            _ = try await fixture.node.pause(parent.id)
            let child = try await fixture.fork(.sandbox(parent.id))[0]
            #expect(try await fixture.shell(look, in: child) == "none C.UTF-8 none")
            let resumed = try await fixture.node.resume(parent.id, from: .memory, network: .closed)
            #expect(try await fixture.shell(look, in: resumed) == "\(secret) C.UTF-8 none")
            let back = try await fixture.node.rewind(parent.id, to: snapshot.id, network: .closed)
            #expect(try await fixture.shell(look, in: back) == "\(secret) C.UTF-8 none")
            try await fixture.destroy(child, parent)
        }
    }
}
