import Dispatch
import Glibc
import LinuxSystem
import Synchronization

/// A server that does on purpose what a real one does only by accident: it cuts connections where it is told to.
///
/// Each connection gets the next answer of the script, byte for byte, and is then closed.
final class ScriptedServer: Sendable {
    let socketPath: String
    private let listener: Descriptor
    private let state: Mutex<(answers: [String], requests: [String])>

    init(in directory: String, answers: [String]) throws {
        socketPath = directory + "/api.sock"
        listener = try UnixSocket.listen(in: try Descriptor.openDirectory(directory), name: "api.sock")
        state = Mutex((answers, []))
        Thread.start { [self] in serve() }
    }

    /// The head of every request so far.
    var requests: [String] { state.withLock { $0.requests } }

    private func serve() {
        while let answer = state.withLock({ $0.answers.isEmpty ? nil : $0.answers.removeFirst() }) {
            let connection = Descriptor(owning: accept(listener.number, nil, nil))
            var head: [UInt8] = []
            while !head.contains([13, 10, 13, 10]), let more = try? connection.read(upTo: 65_536), !more.isEmpty {
                head += more
            }
            state.withLock { $0.requests.append(String(decoding: head, as: UTF8.self)) }
            try? connection.writeAll(Array(answer.utf8))
            shutdown(connection.number, Int32(SHUT_WR))
        }
        listener.close()
    }

    /// An event stream's answer.
    static func stream(_ events: String) -> String {
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n" + events
    }

    /// A whole answer.
    static func json(_ status: String, _ body: String) -> String {
        "HTTP/1.1 \(status)\r\ncontent-type: application/json\r\ncontent-length: \(body.utf8.count)\r\n"
            + "connection: close\r\n\r\n\(body)"
    }
}

/// A thread for what blocks.
private enum Thread {
    static func start(_ body: @escaping @Sendable () -> Void) {
        DispatchQueue(label: "scripted server").async(execute: body)
    }
}

extension [UInt8] {
    fileprivate func contains(_ piece: [UInt8]) -> Bool {
        count >= piece.count && (0...(count - piece.count)).contains { self[$0...].starts(with: piece) }
    }
}
