import FoundationEssentials
import GuestClient
import GuestProtocol
import MartletAPI
import SandboxModel

/// What a guest measures of its network: it alone has the clock that counts.
struct NetworkProbe: Sendable {
    /// What is measured.
    enum Kind: String, Sendable, CaseIterable {
        /// Bytes from the server, and to it.
        case download, upload
        /// The same over HTTP.
        case http
        /// One byte there and back on a connection that is there.
        case ping
        /// A new connection, until its first byte is back.
        case connect

        var isBulk: Bool { self == .download || self == .upload || self == .http }
    }

    /// Bytes moved for one sample of throughput.
    static let bytes = 32 << 20

    /// Prints a JSON list of milliseconds.
    private static let program = """
        import json, socket, sys, time
        kind, host, address, port, count = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), int(sys.argv[5])
        block = bytearray(262144)
        def open_one():
            s = socket.create_connection((address, port), 30)
            s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return s
        def read_all(s, count):
            while count > 0:
                got = s.recv_into(block)
                if not got: sys.exit("the connection ended early")
                count -= got
        def bulk(line, sends, receives):
            s = open_one()
            start = time.perf_counter()
            s.sendall(line)
            while sends > 0:
                sends -= s.send(block[:min(sends, len(block))])
            if receives is None:
                head = b""
                while b"\\r\\n\\r\\n" not in head: head += s.recv(65536)
                receives = count - len(head.split(b"\\r\\n\\r\\n", 1)[1])
            read_all(s, receives)
            return [(time.perf_counter() - start) * 1000]
        def pings(s, number):
            samples = []
            for _ in range(number):
                start = time.perf_counter()
                s.sendall(b"x")
                read_all(s, 1)
                samples.append((time.perf_counter() - start) * 1000)
            return samples
        if kind == "download": out = bulk(b"\\0GIVE %d\\n" % count, 0, count)
        elif kind == "upload": out = bulk(b"\\0TAKE %d\\n" % count, count, 1)
        elif kind == "http": out = bulk(b"GET /bytes/%d HTTP/1.1\\r\\nHost: %s\\r\\n\\r\\n" % (count, host.encode()), 0, None)
        elif kind == "ping":
            s = open_one()
            s.sendall(b"\\0PING\\n")
            pings(s, 20)
            out = pings(s, count)
        else:
            out = []
            for _ in range(count):
                start = time.perf_counter()
                s = open_one()
                s.sendall(b"\\0PING\\nx")
                read_all(s, 1)
                out.append((time.perf_counter() - start) * 1000)
                s.close()
        print(json.dumps(out))
        """

    /// The words that have a guest measure.
    ///
    /// - Parameter address: the server's, or its name.
    static func command(_ kind: Kind, to address: String, count: Int) -> [String] {
        let port = kind == .http ? BenchWorld.httpPort : BenchWorld.dataPort
        return ["/usr/bin/python3", "-c", program, kind.rawValue, BenchWorld.name, address, "\(port)", "\(count)"]
    }

    /// The samples in what the guest printed.
    static func samples(_ output: [UInt8]) throws(MartletError) -> [Double] {
        guard let samples = try? JSONDecoder().decode([Double].self, from: Data(output)), !samples.isEmpty else {
            throw MartletError(
                .failedPrecondition,
                "measuring in the guest: it printed \(String(decoding: output.prefix(200), as: UTF8.self))")
        }
        return samples
    }
}

/// A guest that a network is measured from.
protocol NetworkGuest: Sendable {
    func run(_ program: [String]) async throws -> [UInt8]
}

extension NetworkGuest {
    func measure(_ kind: NetworkProbe.Kind, to address: String, count: Int) async throws -> [Double] {
        try NetworkProbe.samples(await run(NetworkProbe.command(kind, to: address, count: count)))
    }
}

/// A sandbox of the daemon's.
struct SandboxGuest: NetworkGuest {
    let server: BenchServer
    let id: String

    func run(_ program: [String]) async throws -> [UInt8] {
        Array((try await ExecBenchmark.run(program, in: id, server).stdout ?? "").utf8)
    }
}

/// A machine without a daemon.
struct RawGuest: NetworkGuest {
    let machine: RawMachine
    private static let longestOutput = 1 << 20

    func run(_ program: [String]) async throws -> [UInt8] {
        let outcome = try await machine.guest.exec(StartProcess(arguments: program), outputLimit: Self.longestOutput)
        guard outcome.exit.code == 0 else {
            throw MartletError(
                .failedPrecondition,
                "\(program[0]) in the guest: it ended with \(outcome.exit.code): "
                    + String(decoding: outcome.standardError, as: UTF8.self))
        }
        return outcome.standardOutput
    }
}
