import LinuxSystem
import SandboxModel

/// Who resolves names for the host itself.
enum NameServers {
    /// Most that are asked, as resolv.conf(5) has it.
    private static let most = 3

    /// Those of `/etc/resolv.conf` that have an IPv4 address; none where the file has none.
    static func ofHost(_ path: String = "/etc/resolv.conf") -> [IPv4Address] {
        parse(String(decoding: (try? AtomicFile.read(path, limit: 65_536)) ?? [], as: UTF8.self))
    }

    static func parse(_ text: String) -> [IPv4Address] {
        let found = text.split(separator: "\n").compactMap { line -> IPv4Address? in
            let words = line.split { $0 == " " || $0 == "\t" }
            guard words.count >= 2, words[0] == "nameserver" else { return nil }
            return IPv4Address(words[1])
        }
        return Array(found.prefix(most))
    }
}
