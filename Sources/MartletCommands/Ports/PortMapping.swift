import ArgumentParser

/// `8080:80`, `80` for the same on both sides, `0:80` or `:80` for a free one.
struct PortMapping: ExpressibleByArgument, Equatable {
    /// On this machine; 0 takes a free one.
    let local: Int
    /// In the sandbox.
    let remote: Int

    init?(argument: String) {
        let parts = argument.split(separator: ":", omittingEmptySubsequences: false)
        func port(_ text: Substring) -> Int? {
            guard !text.isEmpty, text.utf8.allSatisfy({ (48...57).contains($0) }) else { return nil }
            return UInt16(text).map(Int.init)
        }
        guard (1...2).contains(parts.count), let remote = port(parts[parts.count - 1]), remote > 0 else { return nil }
        self.remote = remote
        guard parts.count == 2 else {
            local = remote
            return
        }
        guard let local = parts[0].isEmpty ? 0 : port(parts[0]) else { return nil }
        self.local = local
    }
}
