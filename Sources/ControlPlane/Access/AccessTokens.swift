import Crypto
import FoundationEssentials
import LinuxSystem
import SandboxModel

/// Tokens that open one sandbox, for clients that are given no API key. Nothing is kept of them: each is the HMAC-SHA-256
/// (RFC 2104) of the sandbox's id under a key of this host, and so lives as long as the sandbox does.
package struct AccessTokens: Sendable {
    /// What a token opens.
    package enum Purpose: String, Sendable {
        /// Programs and files.
        case control
        /// What listens on the sandbox's ports.
        case traffic
    }

    private static let keyBytes = 32

    private let key: SymmetricKey

    /// With a key that lasts as long as this value.
    init() { key = SymmetricKey(size: .bits256) }

    /// With the key in a file, which is made if it is not there, readable for its owner alone.
    ///
    /// - Throws: `failed_precondition` for a file that holds no key, `unavailable`.
    init(keyFile path: String) throws(MartletError) {
        do {
            let bytes = try AtomicFile.read(path, limit: 4096)
            guard bytes.count == AccessTokens.keyBytes else {
                throw MartletError(
                    .failedPrecondition,
                    "access tokens: \(path): the file holds no key of \(AccessTokens.keyBytes) bytes; remove it for a new "
                        + "one, which ends the tokens given out")
            }
            key = SymmetricKey(data: bytes)
        } catch let error as MartletError {
            throw error
        } catch let error as SystemError where error.errno == 2 {
            key = SymmetricKey(size: .bits256)
            do {
                try AtomicFile.write(key.withUnsafeBytes { Array($0) }, to: path, mode: 0o600)
            } catch {
                throw MartletError(.unavailable, "access tokens: their key could not be written: \(error)")
            }
        } catch {
            throw MartletError(.unavailable, "access tokens: \(error)")
        }
    }

    /// The token of a sandbox.
    package func token(_ purpose: Purpose, of id: SandboxID) -> String {
        AccessTokens.hexadecimal(HMAC<SHA256>.authenticationCode(for: AccessTokens.text(purpose, id), using: key))
    }

    /// Whether a token is the sandbox's; takes the same time whatever was presented.
    package func isValid(_ token: String, _ purpose: Purpose, of id: SandboxID) -> Bool {
        AccessTokens.isEqual(token, self.token(purpose, of: id))
    }

    /// A token with which one archive may be sent for builds of one template, up to a moment.
    package func uploadToken(template: String, hash: String, expires: Timestamp) -> String {
        let text = "martlet template upload\0\(template)\0\(hash)\0\(expires.milliseconds)"
        return AccessTokens.hexadecimal(HMAC<SHA256>.authenticationCode(for: Data(text.utf8), using: key))
    }

    /// Whether `uploadToken` has made a token, and its time is not over; takes the same time whatever was presented.
    package func isValid(_ token: String, template: String, hash: String, expires: Timestamp) -> Bool {
        AccessTokens.isEqual(token, uploadToken(template: template, hash: hash, expires: expires)) && .now < expires
    }

    private static func isEqual(_ left: String, _ right: String) -> Bool {
        let (left, right) = (Array(left.utf8), Array(right.utf8))
        guard left.count == right.count else { return false }
        return zip(left, right).reduce(UInt8(0)) { $0 | ($1.0 ^ $1.1) } == 0
    }

    private static func hexadecimal(_ code: HMAC<SHA256>.MAC) -> String {
        code.reduce(into: "") { text, byte in
            let digits = String(byte, radix: 16)
            text += byte < 16 ? "0" + digits : digits
        }
    }

    private static func text(_ purpose: Purpose, _ id: SandboxID) -> Data {
        Data("martlet sandbox access\0\(purpose.rawValue)\0\(id)".utf8)
    }
}
