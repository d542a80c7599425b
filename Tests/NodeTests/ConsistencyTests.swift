import Foundation
import Glibc
import GuestClient
import GuestProtocol
import LinuxSystem
import Node
import SandboxModel
import Testing

/// Hazard 6: memory and disk are of one instant, and nothing is lost however often.
@Suite(.serialized, .requiresTemplate, .timeLimit(.minutes(10))) struct ConsistencyTests {
    /// Counts in memory, and writes every number to a file and to a database.
    private static let writer = """
        import sqlite3
        lock, count = threading.Lock(), 0
        database = sqlite3.connect('/root/database', check_same_thread=False)
        database.execute('create table numbers (n integer primary key, padding blob)')
        log = os.open('/root/log', os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        def write():
            global count
            while True:
                with lock:
                    count += 1
                    os.write(log, b'%d\\n' % count)
                    with database: database.execute('insert into numbers values (?, randomblob(300))', (count,))
                time.sleep(0.001)
        threading.Thread(target=write, daemon=True).start()
        def check(end):
            expected = list(range(1, end + 1))
            # What is read is to come from the disk, not from the memory that remembers having written it.
            os.sync()
            with open('/proc/sys/vm/drop_caches', 'w') as f: f.write('3')
            if open('/root/log').read() != ''.join('%d\\n' % n for n in expected): return 'the file is wrong'
            fresh = sqlite3.connect('/root/database')
            verdict = fresh.execute('pragma integrity_check').fetchone()[0]
            if verdict != 'ok': return verdict
            rows = [row[0] for row in fresh.execute('select n from numbers order by n')]
            return str(end) if rows == expected else 'the table is wrong'
        def answer(question):
            with lock: return check(count)
        """

    /// What the kernel says when a disk is not what it should be.
    private static let complaints =
        "dmesg | grep -E 'EXT4-fs (error|warning)|I/O error|Call Trace|JBD2.*error|hung' || true"

    @Test func `fifty forks of a sandbox that writes all the time are each consistent`() async throws {
        try await NodeFixture.with { fixture in
            let parent = try await fixture.create()
            try await fixture.startResident(ConsistencyTests.writer, in: parent)
            _ = try #require(Int(try await fixture.ask("check", in: parent)))
            try await withThrowingTaskGroup(of: Void.self) { group in
                var next = ContinuousClock.now
                for round in 0..<50 {
                    if round >= 4 { try await group.next() }
                    try await ContinuousClock().sleep(until: next)
                    next = max(next, .now) + .milliseconds(50)
                    group.addTask { try await ConsistencyTests.forkAndCheck(parent, fixture) }
                }
                try await group.waitForAll()
            }
            let end = try #require(Int(try await fixture.ask("check", in: parent)))
            #expect(end > 50)
            #expect(try await fixture.shell(ConsistencyTests.complaints, in: parent) == "")
            // Merging went on all the while: what is left does not grow with the number of forks.
            #expect(fixture.layers() < 24, "\(fixture.layers()) layers")
            // And the disk alone, after it was flushed: every whole line there is follows on the one before.
            let booted = try await fixture.node.resume(parent.id, from: .disk, network: .closed)
            let check = """
                import sqlite3
                lines = open('/root/log').read().splitlines()
                assert lines == [str(n) for n in range(1, len(lines) + 1)], 'the file is wrong'
                db = sqlite3.connect('/root/database')
                assert db.execute('pragma integrity_check').fetchone()[0] == 'ok', 'the database is damaged'
                rows = [row[0] for row in db.execute('select n from numbers order by n')]
                assert rows == list(range(1, len(rows) + 1)), 'the table is wrong'
                print(min(len(lines), len(rows)))
                """
            let kept = try #require(Int(try await fixture.output(of: "python3", "-c", check, in: booted)))
            #expect(kept >= end, "what was flushed was lost")
            try await fixture.destroy(booted)
        }
    }

    private static func forkAndCheck(_ parent: NodeSandbox, _ fixture: NodeFixture) async throws {
        let lastLine = try await fixture.output(of: "tail", "-n", "1", "/root/log", in: parent)
        let child = try await fixture.fork(.sandbox(parent.id))[0]
        let answer = try await fixture.ask("check", in: child)
        let end = try #require(Int(answer), "a child is inconsistent: \(answer)")
        #expect(end >= Int(lastLine) ?? .max, "what was written before the fork is missing in the child")
        #expect(try await fixture.shell(complaints, in: child) == "")
        try await fixture.destroy(child)
    }

    @Test func `a file written just before the fork is whole in the child`() async throws {
        try await NodeFixture.with { fixture in
            let parent = try await fixture.create()
            for round in 0..<5 {
                let bytes = try Descriptor.open("/dev/urandom", O_RDONLY).read(upTo: 400_000)
                let guest = try await fixture.node.guest(of: parent.id)
                let file = guest.writeFile(WriteFile(path: "/root/file", mode: 0o644))
                try await file.write(bytes)
                _ = try await file.finish()
                let child = try await fixture.fork(.sandbox(parent.id))[0]
                _ = try await fixture.shell("sync; echo 3 > /proc/sys/vm/drop_caches", in: child)
                let reader = try await fixture.node.guest(of: child.id).readFile(
                    ReadFile(path: "/root/file", offset: 0, length: .max))
                var found: [UInt8] = []
                for try await piece in reader { found += piece }
                #expect(found == bytes, "round \(round)")
                try await fixture.destroy(child)
            }
            try await fixture.destroy(parent)
        }
    }

    @Test func `a hundred pauses lose nothing in memory or on disk`() async throws {
        try await NodeFixture.with { fixture in
            let sandbox = try await fixture.create()
            try await fixture.startResident(
                """
                import zlib
                content = bytearray(os.urandom(64 << 20))
                checksum, cycles = zlib.crc32(content), []
                def answer(question):
                    if question == 'check': return 'whole' if zlib.crc32(content) == checksum else 'damaged'
                    cycles.append(question)
                    with open('/root/cycles', 'a') as f: f.write(question + '\\n')
                    return ' '.join(cycles)
                """, in: sandbox)
            let tree = "cd /root/tree && find . -type f | sort | xargs sha256sum | sha256sum"
            let checksum = try await fixture.shell(
                """
                mkdir -p /root/tree/sub
                for i in $(seq 100); do head -c $((i * 700)) /dev/urandom > /root/tree/sub/$i; done
                \(tree)
                """, in: sandbox)
            for cycle in 1...100 {
                _ = try await fixture.node.pause(sandbox.id)
                _ = try await fixture.node.resume(sandbox.id, from: .memory, network: .closed)
                let cycles = try await fixture.ask("\(cycle)", in: sandbox)
                #expect(cycles == (1...cycle).map(String.init).joined(separator: " "))
                guard cycle % 10 == 0 else { continue }
                try #require(try await fixture.ask("check", in: sandbox) == "whole", "after \(cycle) cycles")
                _ = try await fixture.shell("sync; echo 3 > /proc/sys/vm/drop_caches", in: sandbox)
                try #require(try await fixture.shell(tree, in: sandbox) == checksum, "after \(cycle) cycles")
                #expect(fixture.layers() < 24, "\(fixture.layers()) layers after \(cycle) cycles")
            }
            #expect(
                try await fixture.output(of: "cat", "/root/cycles", in: sandbox)
                    == (1...100).map(String.init).joined(separator: "\n"))
            #expect(try await fixture.shell(ConsistencyTests.complaints, in: sandbox) == "")
            try await fixture.destroy(sandbox)
        }
    }
}
