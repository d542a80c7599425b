/// One file that an upload has written.
package struct WrittenFile: Encodable, Sendable, Equatable {
    package var name: String
    package var type = "file"
    package var path: String
    package var metadata: [String: String]?

    package init(path: String, metadata: [String: String]? = nil) {
        name = path.split(separator: "/").last.map(String.init) ?? path
        self.path = path
        self.metadata = metadata
    }
}
