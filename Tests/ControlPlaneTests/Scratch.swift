import ControlStore
import FoundationEssentials
import Glibc
import LinuxSystem
import NIOPosix
import SandboxModel
import Testing

/// A directory of a test's own, gone with all that is in it when the test is over.
final class Scratch: Sendable {
    let path: String

    init() throws {
        var template = Array("/tmp/martlet-test-XXXXXX".utf8CString)
        path = try #require(mkdtemp(&template).map { String(cString: $0) })
    }

    /// Opens the store in it; waits for one that was open before, which its last user may only be letting go of.
    func openStore() async throws -> SQLiteStore {
        while true {
            do {
                return try SQLiteStore.open(directory: path)
            } catch let error as MartletError where error.code == .conflict {
                let lock = path + "/martlet.db.lock"
                try await NIOThreadPool.singleton.runIfActive { try LinuxSystem.FileLock.wait(lock).release() }
            }
        }
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }
}
