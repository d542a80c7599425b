import Foundation
import Node
import SandboxModel
import Testing

/// Hazard 5: a connection to the outside has one end there, and only one sandbox that has the other.
@Suite(.serialized, .requiresTemplate, .timeLimit(.minutes(5))) struct ConnectionTests {
    private static let program = """
        import errno, socket
        def connect(address):
            server = socket.create_server((address, 0))
            client = socket.create_connection(server.getsockname())
            return client, server.accept()[0], server
        outer, blocked, loopback = connect('10.77.0.1'), connect('10.77.0.1'), connect('127.0.0.1')
        woken = []
        def name(error): return errno.errorcode.get(error.errno, 'timeout')
        def wait():
            try: woken.append('data %d' % len(blocked[0].recv(1)))
            except OSError as error: woken.append(name(error))
        waiting = threading.Thread(target=wait, daemon=True)
        waiting.start()
        def exchange(one, other):
            results = []
            for end in (one, other):
                try:
                    end.settimeout(10)
                    end.sendall(b'x')
                    results.append('sent')
                except OSError as error: results.append(name(error))
            if results == ['sent', 'sent']:
                results = ['alive' if end.recv(1) == b'x' else 'closed' for end in (one, other)]
            return results
        def answer(question):
            if question == 'blocked':
                waiting.join(1)
                return woken[0] if woken else 'waiting'
            client = socket.create_connection(outer[2].getsockname())
            fresh = exchange(client, outer[2].accept()[0])
            return ' '.join(exchange(*outer[:2]) + exchange(*loopback[:2]) + fresh)
        """

    @Test func `connections to the outside are dead in what goes on elsewhere, and alive in the parent`() async throws {
        try await NodeFixture.with { fixture in
            let parent = try await fixture.create()
            _ = try await fixture.shell("ip address add 10.77.0.1/32 dev lo", in: parent)
            try await fixture.startResident(ConnectionTests.program, in: parent)
            #expect(try await fixture.ask("exchange", in: parent) == "alive alive alive alive alive alive")
            let children = try await fixture.fork(.sandbox(parent.id), 2)
            for child in children { try await ConnectionTests.expectCutOff(child, fixture) }
            #expect(try await fixture.ask("exchange", in: parent) == "alive alive alive alive alive alive")
            #expect(try await fixture.ask("blocked", in: parent) == "waiting")
            // After a pause the other ends have only waited.
            let snapshot = try await fixture.node.snapshot(parent.id, as: SnapshotSpec(id: .random()))
            _ = try await fixture.node.pause(parent.id)
            let resumed = try await fixture.node.resume(parent.id, from: .memory, network: .closed)
            #expect(try await fixture.ask("exchange", in: resumed) == "alive alive alive alive alive alive")
            #expect(try await fixture.ask("blocked", in: resumed) == "waiting")
            // Taken back in time, it knows less of its connections than the other ends do.
            let rewound = try await fixture.node.rewind(parent.id, to: snapshot.id, network: .closed)
            try await ConnectionTests.expectCutOff(rewound, fixture)
            try await fixture.node.removeSnapshot(snapshot.id)
            try await fixture.destroy(children + [parent])
        }
    }

    private static func expectCutOff(_ sandbox: NodeSandbox, _ fixture: NodeFixture) async throws {
        // Aborted itself, or told so by the other end that was a moment earlier; and without waiting for anything.
        let dead: Set<Substring> = ["ECONNABORTED", "ECONNRESET"]
        let words = try await fixture.ask("exchange", in: sandbox).split(separator: " ")
        #expect(words.count == 6 && words.prefix(2).allSatisfy(dead.contains), "\(words)")
        // Its own connections, and listening for new ones, are nobody else's business.
        #expect(words.dropFirst(2) == ["alive", "alive", "alive", "alive"], "\(words)")
        #expect(dead.contains(Substring(try await fixture.ask("blocked", in: sandbox))), "a reader was not woken")
    }
}
