import ControlPlane
import GuestClient
import MartletAPI
import SandboxModel

/// The users and groups of a guest, as its files name them. The guest may say what it likes: nothing but names shown to
/// its own owner, and paths inside it, come of this.
struct GuestAccounts: Sendable {
    private static let maxBytes = 1 << 20
    /// Names longer than Linux' own limit are no names.
    private static let maxName = 256

    private var users: [UInt32: String] = [:]
    private var homes: [String: String] = [:]
    private var groups: [UInt32: String] = [:]

    /// Reads them; a file that is not there names nobody.
    init(of call: EnvdCall, _ files: Files) async throws {
        async let passwd = GuestAccounts.lines("/etc/passwd", of: call, files)
        async let group = GuestAccounts.lines("/etc/group", of: call, files)
        for fields in try await passwd where fields.count >= 6 {
            if let number = UInt32(fields[2]), users[number] == nil { users[number] = fields[0] }
            if homes[fields[0]] == nil { homes[fields[0]] = fields[5].hasPrefix("/") ? fields[5] : "/" }
        }
        for fields in try await group where fields.count >= 3 {
            if let number = UInt32(fields[2]), groups[number] == nil { groups[number] = fields[0] }
        }
    }

    func user(_ number: UInt32) -> String { users[number] ?? "\(number)" }

    func group(_ number: UInt32) -> String { groups[number] ?? "\(number)" }

    /// nil for a user that is not there.
    func home(of user: String) -> String? { homes[user] }

    private static func lines(_ path: String, of call: EnvdCall, _ files: Files) async throws -> [[String]] {
        let bytes: [UInt8]
        do {
            let reader = try await files.read(
                call.id, path: path, offset: 0, length: UInt64(maxBytes), caller: call.caller)
            var whole: [UInt8] = []
            for try await piece in reader where whole.count < maxBytes { whole.append(contentsOf: piece) }
            bytes = whole
        } catch let error as MartletError where error.details["reason"] == "not_found" {
            return []
        }
        return bytes.split(separator: UInt8(ascii: "\n")).map { line in
            line.split(separator: UInt8(ascii: ":"), omittingEmptySubsequences: false)
                .map { String(decoding: $0.prefix(maxName), as: UTF8.self) }
        }
    }
}

extension Envd {
    /// The absolute path that a client's path is for a user: what is relative is below the user's home, as `~` is.
    ///
    /// - Throws: `unauthenticated` for a user that is not there, `invalid_argument`.
    func resolve(_ path: String, user: String, _ call: EnvdCall) async throws -> String {
        if path.hasPrefix("/") { return path }
        guard let home = try await GuestAccounts(of: call, files).home(of: user) else {
            throw MartletError(
                .invalidArgument, "user \(user.prefix(64)): no such user", details: ["reason": "invalid_argument"])
        }
        if path.isEmpty || path == "~" { return home }
        if path.hasPrefix("~/") { return home + path.dropFirst() }
        guard !path.hasPrefix("~") else { throw MartletError.invalid("path", "cannot expand user-specific home dir") }
        return home == "/" ? "/" + path : home + "/" + path
    }
}
