import LinuxSystem
import Logging
import SandboxModel

/// What both log formats share: levels, metadata in order, safe text, one write per line.
enum LogLine {
    /// Metadata of a line by key, the line's own over the logger's.
    static func merged(
        _ base: Logger.Metadata, _ provider: Logger.MetadataProvider?, _ event: LogEvent
    ) -> [(key: String, value: Logger.MetadataValue)] {
        var all = base
        if let provided = provider?.get() { all.merge(provided) { $1 } }
        if let own = event.metadata { all.merge(own) { $1 } }
        if let error = event.error { all["error"] = "\(error)" }
        return all.sorted { $0.key < $1.key }
    }

    /// Writes one line to standard error with one system call, so that lines of several threads do not mix.
    static func write(_ line: String) { Console.write(line + "\n", to: 2) }

    /// Now, as logs tell it.
    static var time: String { Timestamp(milliseconds: Clocks.realtimeMilliseconds).description }
}
