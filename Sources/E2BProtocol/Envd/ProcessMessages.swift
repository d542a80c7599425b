// Messages of `process.Process`, as in packages/envd/spec/process/process.proto of e2b-dev/infra.

/// What is to run, and how.
package struct ProcessConfig: Codable, Sendable, Equatable {
    package var cmd: String
    package var args: [String]?
    package var envs: [String: String]?
    package var cwd: String?

    package init(cmd: String, args: [String], envs: [String: String], cwd: String?) {
        self.cmd = cmd
        self.args = args
        self.envs = envs
        self.cwd = cwd
    }
}

/// A terminal and its size.
package struct PTYMessage: Decodable, Sendable {
    package struct Size: Decodable, Sendable {
        package var cols: UInt32?
        package var rows: UInt32?
    }
    package var size: Size?
}

/// Names a process by its number, or by the tag it was started with.
package struct ProcessSelector: Decodable, Sendable, Equatable {
    package var pid: UInt32?
    package var tag: String?
}

package struct StartRequest: Decodable, Sendable {
    package var process: ProcessConfig?
    package var pty: PTYMessage?
    package var tag: String?
    /// Old clients do not send it and write to standard input all the same.
    package var stdin: Bool?
}

/// A request that is about one process and says nothing more: `Connect`, `CloseStdin`.
package struct ProcessRequest: Decodable, Sendable {
    package var process: ProcessSelector?
    /// `Connect` only: also what the process has written before.
    package var replay: Bool?
}

package struct UpdateRequest: Decodable, Sendable {
    package var process: ProcessSelector?
    package var pty: PTYMessage?
}

package struct ProcessInputMessage: Decodable, Sendable {
    package var stdin: ProtoBytes?
    package var pty: ProtoBytes?

    package var bytes: [UInt8] { (stdin ?? pty)?.bytes ?? [] }
}

package struct SendInputRequest: Decodable, Sendable {
    package var process: ProcessSelector?
    package var input: ProcessInputMessage?
}

package struct SendSignalRequest: Decodable, Sendable {
    package var process: ProcessSelector?
    package var signal: ProtoEnum<ProcessSignal>?
}

package enum ProcessSignal: String, CaseIterable, ProtoNumbered, Sendable {
    case unspecified = "SIGNAL_UNSPECIFIED"
    case terminate = "SIGNAL_SIGTERM"
    case kill = "SIGNAL_SIGKILL"

    package var number: Int {
        switch self {
        case .unspecified: 0
        case .terminate: 15
        case .kill: 9
        }
    }
}

/// One message of the stream `StreamInput`.
package struct StreamInputRequest: Decodable, Sendable {
    package struct Data: Decodable, Sendable { package var input: ProcessInputMessage? }

    package var start: ProcessRequest?
    package var data: Data?
}

/// Answer of `List`.
package struct ListProcessesResponse: Encodable, Sendable {
    package struct Process: Encodable, Sendable {
        package var config: ProcessConfig
        package var pid: UInt32
        package var tag: String?

        package init(config: ProcessConfig, pid: UInt32, tag: String?) {
            self.config = config
            self.pid = pid
            self.tag = tag
        }
    }
    package var processes: [Process]

    package init(processes: [Process]) { self.processes = processes }
}

/// Message of the streams `Start` and `Connect`.
package struct ProcessEventResponse: Encodable, Sendable {
    package enum Event: Sendable, Equatable {
        case start(pid: UInt32)
        case stdout([UInt8])
        case stderr([UInt8])
        case pty([UInt8])
        case keepalive
        case end(exitCode: Int32, exited: Bool, status: String, error: String?)
    }

    package var event: Event

    package init(_ event: Event) { self.event = event }

    private enum Keys: String, CodingKey {
        case event, start, data, keepalive, end, pid, stdout, stderr, pty, exitCode, exited, status, error
    }

    package func encode(to encoder: any Encoder) throws {
        var whole = encoder.container(keyedBy: Keys.self)
        var event = whole.nestedContainer(keyedBy: Keys.self, forKey: .event)
        switch self.event {
        case .start(let pid):
            var start = event.nestedContainer(keyedBy: Keys.self, forKey: .start)
            try start.encode(pid, forKey: .pid)
        case .stdout(let bytes): try data(&event, .stdout, bytes)
        case .stderr(let bytes): try data(&event, .stderr, bytes)
        case .pty(let bytes): try data(&event, .pty, bytes)
        case .keepalive: _ = event.nestedContainer(keyedBy: Keys.self, forKey: .keepalive)
        case .end(let exitCode, let exited, let status, let error):
            var end = event.nestedContainer(keyedBy: Keys.self, forKey: .end)
            try end.encode(exitCode, forKey: .exitCode)
            try end.encode(exited, forKey: .exited)
            try end.encode(status, forKey: .status)
            try end.encodeIfPresent(error, forKey: .error)
        }
    }

    private func data(_ event: inout KeyedEncodingContainer<Keys>, _ key: Keys, _ bytes: [UInt8]) throws {
        var data = event.nestedContainer(keyedBy: Keys.self, forKey: .data)
        try data.encode(ProtoBytes(bytes), forKey: key)
    }
}
