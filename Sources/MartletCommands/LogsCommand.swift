import ArgumentParser
import MartletClient

/// Shows a sandbox's console.
struct LogsCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "logs", abstract: "Show what a sandbox's kernel and agent wrote on its console.")

    @Argument(help: "Id or name of the sandbox.")
    var sandbox: String

    @Flag(name: [.short, .long], help: "Go on showing what comes.")
    var follow = false

    func run() async throws {
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
