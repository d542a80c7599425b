import Foundation
import MartletAPI
import MartletClient
import Testing

/// A program in a guest that makes attempts one after the other, as root.
final class GuestProbe {
    private let client: MartletClient
    private let sandbox: String
    private let pid: Int32
    private var output: ProcessEvents.AsyncIterator
    private var pending: [UInt8] = []

    private init(_ client: MartletClient, _ sandbox: String, _ pid: Int32) {
        self.client = client
        self.sandbox = sandbox
        self.pid = pid
        output = client.processEvents(sandbox, pid).makeAsyncIterator()
    }

    /// Puts the program into a guest and starts it.
    static func start(_ client: MartletClient, _ sandbox: String) async throws -> GuestProbe {
        try await install(client, sandbox)
        let process = try await client.startProcess(
            sandbox,
            StartProcessRequest(cmd: .arguments(["python3", "-u", "/root/lab/attempts.py"]), stdin: true))
        return GuestProbe(client, sandbox, process.pid)
    }

    static func install(_ client: MartletClient, _ sandbox: String) async throws {
        for name in NetworkLab.guestFiles {
            let bytes = [UInt8](try Data(contentsOf: URL(fileURLWithPath: "\(NetworkLab.sources)/guest/\(name)")))
            try await client.upload(sandbox, "/root/lab/\(name)", bytes: bytes)
        }
    }

    /// Has something tried, and returns what the guest saw of it.
    func attempt(_ line: String) async throws -> AttemptOutcome {
        try await client.writeInput(sandbox, pid, Array((line + "\n").utf8))
        while !pending.contains(10) {
            guard let event = try await output.next() else { throw ProbeError(said: "it has ended") }
            switch event {
            case .output(.stdout, let bytes): pending += bytes
            case .output(.stderr, let bytes): throw ProbeError(said: String(decoding: bytes, as: UTF8.self))
            case .lost, .exit: throw ProbeError(said: "\(event)")
            }
        }
        let end = pending.firstIndex(of: 10) ?? pending.endIndex
        defer { pending.removeSubrange(...end) }
        return try JSONDecoder().decode(AttemptOutcome.self, from: Data(pending[..<end]))
    }

    /// The same for something that has no row in the matrix.
    func attempt(_ script: String, _ arguments: [String: Argument]) async throws -> AttemptOutcome {
        var all = arguments
        all["attempt"] = .text(script)
        return try await attempt(String(decoding: try JSONEncoder().encode(all), as: UTF8.self))
    }

    private struct ProbeError: Error, CustomStringConvertible {
        let said: String
        var description: String { "the probe in the guest: \(said)" }
    }
}
