import FoundationEssentials
import Glibc
import LinuxSystem

/// A directory below the system's temporary one, removed with all in it when the caller says so.
struct ScratchDirectory: Sendable {
    let path: String

    init() throws {
        var template = Array((FileManager.default.temporaryDirectory.path + "/martlet-bench-XXXXXX").utf8CString)
        guard mkdtemp(&template) != nil else {
            throw SystemError("mkdtemp", FileManager.default.temporaryDirectory.path, errno: errno)
        }
        path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    /// Makes a directory, hands it to `body`, and removes it however `body` ends.
    static func with<Result: Sendable>(_ body: (ScratchDirectory) async throws -> Result) async throws -> Result {
        let scratch = try ScratchDirectory()
        let result: Result
        do {
            result = try await body(scratch)
        } catch {
            await scratch.remove()
            throw error
        }
        await scratch.remove()
        return result
    }

    private func remove() async {
        let path = path
        try? await Blocking.run { try FileManager.default.removeItem(atPath: path) }
    }
}
