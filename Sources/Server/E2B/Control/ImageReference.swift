import SandboxModel

/// The name of a container image as builders of templates write it, in one spelling: no registry where that is the one
/// everybody means, and a tag.
struct ImageReference: Equatable, CustomStringConvertible {
    /// What may stand before the name and says nothing.
    private static let knownRegistries = ["docker.io/library/", "docker.io/", "index.docker.io/library/", "library/"]

    let name: String
    let tag: String

    /// - Throws: `invalid_argument` for what is no such name.
    init(_ text: String) throws(MartletError) {
        var rest = Substring(text)
        for registry in ImageReference.knownRegistries where rest.hasPrefix(registry) {
            rest = rest.dropFirst(registry.count)
            break
        }
        let colon = rest.lastIndex { $0 == ":" || $0 == "/" }.flatMap { rest[$0] == ":" ? $0 : nil }
        let name = colon.map { rest[..<$0] } ?? rest
        let tag = colon.map { rest[rest.index(after: $0)...] } ?? "latest"
        let isAllowed = { (text: Substring) in
            (1...200).contains(text.utf8.count)
                && text.allSatisfy { $0.isASCII && ($0.isLetter || $0.isNumber || "/._-:@".contains($0)) }
        }
        guard isAllowed(name), isAllowed(tag) else { throw .invalid("fromImage", "is no name of an image") }
        self.name = String(name)
        self.tag = String(tag)
    }

    var description: String { "\(name):\(tag)" }
}
