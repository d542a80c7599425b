/// One entry of apt's list of package sources.
package struct AptSource: Sendable, Hashable {
    package var uris: [String]
    package var suites: [String]
    package var components: [String]
    /// The value of `Signed-By` as written: paths, or a whole key over several lines.
    package var signedBy: String?

    /// Reads the one-line format (`deb [options] uri suite component…`).
    package static func parse(oneLine text: String) -> [AptSource] {
        text.split(separator: "\n").compactMap { line in
            var words = line.prefix { $0 != "#" }.split(whereSeparator: \.isWhitespace).map(String.init)
            guard words.first == "deb" else { return nil }
            words.removeFirst()
            var signedBy: String?
            if words.first?.hasPrefix("[") == true {
                guard let end = words.firstIndex(where: { $0.hasSuffix("]") }) else { return nil }
                for option in words[...end] {
                    let option = option.drop { $0 == "[" }.prefix { $0 != "]" }
                    if option.hasPrefix("signed-by=") { signedBy = String(option.dropFirst("signed-by=".count)) }
                }
                words.removeSubrange(...end)
            }
            guard words.count >= 3 else { return nil }
            return AptSource(
                uris: [words[0]], suites: [words[1]], components: Array(words[2...]),
                signedBy: signedBy?.split(separator: ",").joined(separator: " "))
        }
    }

    /// Reads the deb822 format (stanzas of `Key: value`).
    package static func parse(deb822 text: String) -> [AptSource] {
        var stanzas: [[String: String]] = [[:]]
        var key = ""
        for line in text.split(separator: "\n", omittingEmptySubsequences: false) {
            if line.hasPrefix("#") { continue }
            if line.allSatisfy(\.isWhitespace) {
                stanzas.append([:])
            } else if line.first?.isWhitespace == true {
                stanzas[stanzas.count - 1][key, default: ""] += "\n" + line
            } else if let colon = line.firstIndex(of: ":") {
                key = line[..<colon].lowercased()
                stanzas[stanzas.count - 1][key] = String(line[line.index(after: colon)...].drop(while: \.isWhitespace))
            }
        }
        return stanzas.compactMap { stanza in
            func words(_ key: String) -> [String] {
                stanza[key]?.split(whereSeparator: \.isWhitespace).map(String.init) ?? []
            }
            guard words("types").contains("deb"), stanza["enabled"]?.lowercased() != "no",
                !words("uris").isEmpty, !words("suites").isEmpty
            else { return nil }
            return AptSource(
                uris: words("uris"), suites: words("suites"), components: words("components"),
                signedBy: stanza["signed-by"])
        }
    }

    /// The entry in deb822 format.
    package var deb822: String {
        """
        Types: deb
        URIs: \(uris.joined(separator: " "))
        Suites: \(suites.joined(separator: " "))
        Components: \(components.joined(separator: " "))

        """ + (signedBy.map { "Signed-By: \($0)\n" } ?? "")
    }
}
