import SandboxModel

/// Labels on snapshots by which E2B's clients find those they named, whose names are not unique but mean the newest; and
/// what sandboxes made from them keep of the template.
enum TemplateLabels {
    /// `name` or `name:tag`.
    static let name = "e2b.name"
    /// Who programs run as unless the client says so.
    static let user = "e2b.user"
    /// Where programs begin unless the client says so.
    static let workingDirectory = "e2b.workdir"

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
        guard parts.allSatisfy(TemplateReference.isWord), let name = parts.first, text.utf8.count <= 256 else {
            throw .invalid("name", "must be letters, digits, - _ and ., with a tag after a colon if need be")
        }
        return Name(name: name.lowercased(), tag: parts.count == 2 ? parts[1] : nil)
    }
}
