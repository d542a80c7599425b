import SandboxModel

/// Labels on snapshots by which E2B's clients find them: a snapshot they named, and what a template build has come to,
/// are both snapshots here, whose names are not unique but follow the newest.
enum TemplateLabels {
    /// `name` or `name:tag`.
    static let name = "e2b.name"
    /// The id of the template a build belongs to.
    static let template = "e2b.template"
    /// The id of the build; of builds only.
    static let build = "e2b.build"
    /// The tags of a build, with commas.
    static let tags = "e2b.tags"

    /// A name with its tag.
    struct Name: Equatable {
        var name: String
        var tag: String?

        var whole: String { tag.map { "\(name):\($0)" } ?? name }
    }

    /// Checks a name as E2B has them: `name`, `name:tag`, or either after a team's name, which means nothing here.
    ///
    /// - Throws: `invalid_argument`.
    static func checkedName(_ text: String) throws(MartletError) -> Name {
        let own = text.split(separator: "/", omittingEmptySubsequences: false).last.map(String.init) ?? ""
        let parts = own.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
        guard parts.allSatisfy(isWord), let name = parts.first, text.utf8.count <= 256 else {
            throw .invalid("name", "must be letters, digits, - _ and ., with a tag after a colon if need be")
        }
        return Name(name: name.lowercased(), tag: parts.count == 2 ? parts[1] : nil)
    }

    static func isWord(_ text: String) -> Bool {
        (1...128).contains(text.utf8.count)
            && text.utf8.allSatisfy { byte in
                (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte | 0x20)
                    || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) || "-_.".utf8.contains(byte)
            }
    }
}
