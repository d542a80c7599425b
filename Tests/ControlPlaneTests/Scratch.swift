import FoundationEssentials
import Glibc
import Testing

/// A directory of a test's own, gone with all that is in it when the test is over.
final class Scratch: Sendable {
    let path: String

    init() throws {
        var template = Array("/tmp/martlet-test-XXXXXX".utf8CString)
        path = try #require(mkdtemp(&template).map { String(cString: $0) })
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }
}
