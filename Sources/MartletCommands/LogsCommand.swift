import ArgumentParser
import MartletAPI
import MartletClient

/// Shows a sandbox's console.
struct LogsCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "logs", abstract: "Show a sandbox's console, or what its network refused.",
        discussion: "The console is what its kernel and agent wrote.")

    @Argument(help: "Id or name of the sandbox.")
    var sandbox: String

    @Flag(name: [.short, .long], help: "Go on showing what comes.")
    var follow = false

    @Flag(name: .long, help: "Show refused connections and look-ups instead of the console.")
    var network = false

    @Option(name: [.customShort("o"), .customLong("output")], help: "With --network: a table for people, or JSON.")
    var format: OutputFormat?

    func validate() throws {
        guard network || format == nil else { throw ValidationError("--output is for --network") }
    }

    func run() async throws {
        if network { return try await showDenials() }
        try await Session.with { client in
            var shown = ConsoleTail()
            repeat {
                let console = try await client.consoleLog(sandbox)
                let news = shown.news(in: console)
                if !news.isEmpty { try await OutputWriter.standardOutput.write(clean(news)) }
                // The console is a file of the host's that the API hands out as it is; there is no event to wait for.
                if follow { try await Task.sleep(for: .milliseconds(500)) }
            } while follow
        }
    }

    /// A line for each; with JSON, one list of all of them, or an object a line as they come.
    private func showDenials() async throws {
        try await Session.with { client in
            let isJSON = format == .json
            if !isJSON { Console.print(DenialText.header) }
            var all: [SandboxEvent] = []
            for try await event in client.events(sandbox, follow: follow) where event.kind == DenialText.kind {
                if !isJSON {
                    Console.print(DenialText.line(event))
                } else if follow {
                    Console.print(try DenialText.json(event))
                } else {
                    all.append(event)
                }
            }
            if isJSON, !follow { Console.print(try JSONText.of(all)) }
        }
    }

    /// A terminal is not the guest's to steer; a pipe gets the bytes as they are.
    private func clean(_ bytes: [UInt8]) -> [UInt8] {
        guard Console.outputIsTerminal else { return bytes }
        let text = String(decoding: bytes, as: UTF8.self).replacing("\r\n", with: "\n")
        return Array(Printable.lines(text).utf8)
    }
}

/// Finds what is new in the end of a log that grows at one side and is cut at the other.
struct ConsoleTail {
    private var last: [UInt8] = []

    /// The bytes of `log` that were not in the one before.
    mutating func news(in log: [UInt8]) -> [UInt8] {
        defer { last = log }
        if log.starts(with: last) { return Array(log[last.count...]) }
        // The front was cut: look for the last piece of what was shown.
        let mark = last.suffix(256)
        guard let start = log.lastRange(of: mark) else { return log }
        return Array(log[start.upperBound...])
    }
}

extension [UInt8] {
    fileprivate func lastRange(of piece: ArraySlice<UInt8>) -> Range<Int>? {
        guard !piece.isEmpty, piece.count <= count else { return nil }
        var start = count - piece.count
        while start >= 0 {
            if self[start...].starts(with: piece) { return start..<start + piece.count }
            start -= 1
        }
        return nil
    }
}
