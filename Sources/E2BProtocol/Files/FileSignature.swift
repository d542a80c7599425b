import Crypto
import FoundationEssentials

/// The signature that lets a bare URL read or write one file of a sandbox: `v1_` and the base 64, unpadded, of SHA-256
/// over `path:operation:user:token` and, for one that expires, `:seconds since 1970`.
package struct FileSignature: Sendable, Equatable {
    package enum Operation: String, Sendable { case read, write }

    private static let prefix = "v1_"
    /// Characters of an unpadded base 64 of 32 bytes.
    private static let digits = 43

    private let digest: [UInt8]

    /// nil for what cannot be a signature.
    package init?(_ text: String) {
        guard text.hasPrefix(FileSignature.prefix),
            text.utf8.count == FileSignature.prefix.count + FileSignature.digits,
            let data = Data(base64Encoded: text.dropFirst(FileSignature.prefix.count) + "="), data.count == 32
        else { return nil }
        digest = Array(data)
    }

    /// What a sandbox's token gives for one file.
    package init(path: String, operation: Operation, user: String, token: String, expires: Int64?) {
        let expiry = expires.map { ":\($0)" } ?? ""
        digest = Array(SHA256.hash(data: Data("\(path):\(operation.rawValue):\(user):\(token)\(expiry)".utf8)))
    }

    package var text: String {
        FileSignature.prefix + Data(digest).base64EncodedString().prefix(FileSignature.digits)
    }

    /// Compares in the same time whatever was presented.
    package static func == (left: FileSignature, right: FileSignature) -> Bool {
        zip(left.digest, right.digest).reduce(UInt8(0)) { $0 | ($1.0 ^ $1.1) } == 0
    }
}
