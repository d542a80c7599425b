/// How a template is asked for: by its name or id, and, where it has several builds, a tag after a colon.
package struct TemplateReference: Sendable, Hashable, CustomStringConvertible {
    /// The tag that is meant where none is said.
    package static let standardTag = "default"

    package var name: String
    package var tag: String?

    package init(name: String, tag: String? = nil) {
        self.name = name
        self.tag = tag
    }

    /// Reads `name` or `name:tag`, each up to 128 letters, digits, `-`, `_` and `.`.
    ///
    /// - Throws: `invalid_argument` naming `field`.
    package static func parse(_ text: String, field: String) throws(MartletError) -> TemplateReference {
        let parts = text.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
        guard parts.allSatisfy(isWord) else {
            throw .invalid(field, "must be letters, digits, - _ and ., with a tag after a colon if need be")
        }
        return TemplateReference(name: parts[0], tag: parts.count == 2 ? parts[1] : nil)
    }

    package static func isWord(_ text: String) -> Bool {
        (1...128).contains(text.utf8.count)
            && text.utf8.allSatisfy { byte in
                (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte | 0x20)
                    || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) || "-_.".utf8.contains(byte)
            }
    }

    package var description: String { tag.map { "\(name):\($0)" } ?? name }
}
