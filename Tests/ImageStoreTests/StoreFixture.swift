import Glibc
import ImageStore
import LinuxSystem
import Logging
import Testing

/// A store in a directory of its own, gone after the test.
struct StoreFixture {
    let directory: String
    var store: String { directory + "/store" }
    var templates: String { directory + "/templates" }
    var agent: String { directory + "/martlet-guest" }

    static func with(_ body: (StoreFixture) async throws -> Void) async throws {
        var template = Array("/tmp/martlet-store-XXXXXX".utf8CString)
        let made = template.withUnsafeMutableBufferPointer { mkdtemp($0.baseAddress!) != nil }
        try #require(made)
        let directory = template.withUnsafeBufferPointer { String(cString: $0.baseAddress!) }
        defer { try? StoreFiles.remove(directory) }
        let fixture = StoreFixture(directory: directory)
        mkdir(fixture.templates, 0o700)
        try fixture.write("an agent", to: fixture.agent)
        try await body(fixture)
    }

    /// Another process would open the store the same way: two stores share nothing but the directory.
    func open() throws -> ImageStore {
        try ImageStore(
            directory: store, templatesDirectory: templates, guestAgent: agent, logger: Logger(label: "test"))
    }

    func define(_ name: String, _ yaml: String) throws {
        mkdir(templates + "/" + name, 0o700)
        try write(yaml, to: "\(templates)/\(name)/template.yaml")
    }

    func write(_ text: String, to path: String) throws {
        try AtomicFile.write(Array(text.utf8), to: path, durable: false)
    }

    func text(_ path: String) throws -> String { String(decoding: try AtomicFile.read(path), as: UTF8.self) }

    func names(in folder: String) -> [String] { StoreFiles.list(store + "/" + folder) }
}
