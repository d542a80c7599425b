import ControlPlane
import FoundationEssentials
import GuestClient
import GuestProtocol
import HTTPTypes
import Hummingbird
import MartletAPI
import SandboxModel

/// Programs in the background: started, followed, fed, signalled.
struct ProcessRoutes {
    private static let topic = "Processes"
    private static let root = "/v1/sandboxes/{id}/processes"
    let processes: Processes

    var endpoints: [Endpoint] {
        let (topic, root) = (ProcessRoutes.topic, ProcessRoutes.root)
        return [
            Endpoint(.post, root, topic, "Start a process in the background.", handler: start),
            Endpoint(.get, root, topic, "List processes, running and remembered.", handler: list),
            Endpoint(.get, "\(root)/{pid}", topic, "One process.", handler: get),
            Endpoint(.delete, "\(root)/{pid}", topic, "Kill a process and forget it.", handler: delete),
            Endpoint(.get, "\(root)/{pid}/stream", topic, "Follow the output, from any byte.", handler: stream),
            Endpoint(.post, "\(root)/{pid}/stdin", topic, "Write to standard input, or close it.", handler: stdin),
            Endpoint(.post, "\(root)/{pid}/signal", topic, "Signal the process group.", handler: signal),
            Endpoint(.post, "\(root)/{pid}/resize", topic, "Change the terminal's size.", handler: resize),
        ]
    }

    @Sendable private func start(_ call: APICall) async throws -> Response {
        let request = try await call.decode(StartProcessRequest.self)
        let process = try await processes.start(call.sandbox, request, caller: call.caller)
        return try StrictJSON.response(process, status: .created)
    }

    @Sendable private func list(_ call: APICall) async throws -> Response {
        let items = try await processes.list(call.sandbox, caller: call.caller)
        return try StrictJSON.response(Page(items: items, nextCursor: nil))
    }

    @Sendable private func get(_ call: APICall) async throws -> Response {
        try StrictJSON.response(try await processes.get(call.sandbox, pid: try call.pid(), caller: call.caller))
    }

    @Sendable private func delete(_ call: APICall) async throws -> Response {
        try await processes.forget(call.sandbox, pid: try call.pid(), caller: call.caller)
        return Response(status: .noContent)
    }

    /// The id of each event is the byte to go on from, so that a client that reconnects with it misses nothing.
    @Sendable private func stream(_ call: APICall) async throws -> Response {
        let query = try call.query("from", "lossless")
        let last = call.request.headers[.lastEventID].flatMap { UInt64($0) }
        let from: UInt64 = try last ?? query.number("from", 0)
        let pid = try call.pid()
        let process = try await processes.follow(
            call.sandbox, pid: pid, from: from, lossless: try query.flag("lossless"), caller: call.caller)
        return EventStream.response(call) { sink in
            while let element = try await process.next() {
                switch element {
                case .output(let channel, let offset, let bytes):
                    let name = channel == .standardOutput ? "stdout" : "stderr"
                    try await sink.send(
                        name, id: "\(offset &+ UInt64(bytes.count))", data: OutputEvent(offset: offset, bytes: bytes))
                case .exit(let exit):
                    // Told when the state it left can be gone back to.
                    await processes.checkpointAfterEnd(of: pid, in: call.sandbox, caller: call.caller)
                    try await sink.send("exit", id: "\(exit.outputBytes)", data: ProcessExitResource(exit))
                }
            }
        }
    }

    @Sendable private func stdin(_ call: APICall) async throws -> Response {
        let request = try await call.decode(WriteInputRequest.self)
        let bytes = try ProcessRoutes.bytes(of: request)
        let pid = try call.pid()
        try await call.whileClientStays {
            try await processes.write(
                call.sandbox, pid: pid, bytes, close: request.close ?? false, caller: call.caller)
        }
        return Response(status: .noContent)
    }

    private static func bytes(of request: WriteInputRequest) throws(MartletError) -> [UInt8] {
        switch (request.text, request.base64) {
        case (.some, .some): throw .invalid("base64", "is given beside text; give one of them")
        case (let text?, nil): return Array(text.utf8)
        case (nil, let base64?):
            guard let data = Data(base64Encoded: base64) else { throw .invalid("base64", "is not base 64") }
            return Array(data)
        case (nil, nil):
            guard request.close == true else { throw .invalid("text", "is missing; give text, base64 or close") }
            return []
        }
    }

    @Sendable private func signal(_ call: APICall) async throws -> Response {
        let request = try await call.decode(SignalRequest.self)
        try await processes.signal(call.sandbox, pid: try call.pid(), request, caller: call.caller)
        return Response(status: .noContent)
    }

    @Sendable private func resize(_ call: APICall) async throws -> Response {
        let request = try await call.decode(ResizeRequest.self)
        try await processes.resize(call.sandbox, pid: try call.pid(), request, caller: call.caller)
        return Response(status: .noContent)
    }
}
