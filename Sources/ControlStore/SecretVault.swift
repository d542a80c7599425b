import Crypto
import FoundationEssentials
import LinuxSystem
import SandboxModel
import Synchronization

/// Encrypts secrets with a key that lies beside the database, so that a copy or backup of the database alone shows none.
///
/// AES-256-GCM (NIST SP 800-38D) with random nonces, the sandbox's id authenticated along: what is sealed for one sandbox
/// cannot be put into another's record. A sealed text is a version byte, 8 bytes that tell the key, then nonce,
/// ciphertext and tag.
final class SecretVault: Sendable {
    private static let version: UInt8 = 1
    private static let keyBytes = 32
    private static let keyIDBytes = 8

    private let path: String
    private let loaded = Mutex<SymmetricKey?>(nil)

    /// - Parameter path: the key's file; made when something is encrypted for the first time.
    init(path: String) { self.path = path }

    func seal(_ secrets: SandboxSecrets, for id: SandboxID) throws(MartletError) -> SealedSecrets {
        let key = try key(making: true)
        let facts = secrets.secrets.map(SecretFacts.init)
        do {
            let plain = try JSONEncoder().encode(StoredSecrets(secrets))
            let box = try AES.GCM.seal(plain, using: key, authenticating: SecretVault.context(id))
            guard let combined = box.combined else { throw MartletError(.internal, "") }
            return SealedSecrets(
                bytes: [SecretVault.version] + SecretVault.id(of: key) + Array(combined), facts: facts)
        } catch {
            // Whatever it says, it may say it of a value.
            throw MartletError(.internal, "encrypt secrets: \(id): it failed")
        }
    }

    func unseal(_ sealed: SealedSecrets, for id: SandboxID) throws(MartletError) -> SandboxSecrets {
        let key = try key(making: false)
        let head = 1 + SecretVault.keyIDBytes
        guard sealed.bytes.count > head, sealed.bytes[0] == SecretVault.version else {
            throw SecretVault.unreadable(id, "they are damaged, or a newer Martlet has written them")
        }
        guard Array(sealed.bytes[1..<head]) == SecretVault.id(of: key) else {
            throw SecretVault.unreadable(
                id,
                "\(path) holds another key than they were encrypted with; put the right one back, or make the "
                    + "sandbox anew")
        }
        do {
            let box = try AES.GCM.SealedBox(combined: sealed.bytes[head...])
            let plain = try AES.GCM.open(box, using: key, authenticating: SecretVault.context(id))
            return try JSONDecoder().decode(StoredSecrets.self, from: plain).secrets
        } catch {
            throw SecretVault.unreadable(id, "they are damaged")
        }
    }

    /// HMAC-SHA-256 of a value under the key, in hexadecimal.
    func fingerprint(of value: String) throws(MartletError) -> String {
        let key = try key(making: true)
        let code = HMAC<SHA256>.authenticationCode(for: Data("fingerprint\0\(value)".utf8), using: key)
        return code.reduce(into: "") { text, byte in
            let digits = String(byte, radix: 16)
            text += digits.utf8.count < 2 ? "0" + digits : digits
        }
    }

    // MARK: The key

    private func key(making: Bool) throws(MartletError) -> SymmetricKey {
        try loaded.withLock { loaded throws(MartletError) in
            if let key = loaded { return key }
            var key = try read()
            if key == nil, making { key = try make() }
            guard let key else {
                throw MartletError(
                    .failedPrecondition,
                    "read secrets: \(path): the key they were encrypted with is gone; put it back, or make the "
                        + "sandbox anew")
            }
            loaded = key
            return key
        }
    }

    private func read() throws(MartletError) -> SymmetricKey? {
        do {
            let bytes = try AtomicFile.read(path, limit: 4096)
            guard bytes.count == SecretVault.keyBytes else {
                throw MartletError(
                    .failedPrecondition,
                    "read secrets: \(path): the file holds no key of \(SecretVault.keyBytes) bytes; put the right one "
                        + "back, or move it away to start with a new one")
            }
            return SymmetricKey(data: bytes)
        } catch let error as MartletError {
            throw error
        } catch let error as SystemError where error.errno == 2 {
            return nil
        } catch {
            throw MartletError(.unavailable, "read secrets: \(error)")
        }
    }

    private func make() throws(MartletError) -> SymmetricKey {
        let key = SymmetricKey(size: .bits256)
        do {
            try AtomicFile.write(key.withUnsafeBytes { Array($0) }, to: path, mode: 0o600, durable: true)
        } catch {
            throw MartletError(.unavailable, "keep secrets: their key could not be written: \(error)")
        }
        return key
    }

    private static func id(of key: SymmetricKey) -> [UInt8] {
        Array(HMAC<SHA256>.authenticationCode(for: Data("key\0".utf8), using: key).prefix(keyIDBytes))
    }

    private static func context(_ id: SandboxID) -> Data { Data("martlet sandbox secrets\0\(id)".utf8) }

    private static func unreadable(_ id: SandboxID, _ why: String) -> MartletError {
        MartletError(
            .failedPrecondition, "read secrets: \(id): \(why)",
            details: ["sandbox": id.rawValue, "reason": "secrets"])
    }
}

/// What is encrypted, as JSON. A format: fields may be added, none changed.
private struct StoredSecrets: Codable {
    struct Secret: Codable {
        var name: String
        var placeholder: String
        var value: String
        var hosts: [HostPattern]
        var header: String?
        var format: String
    }

    var entries: [Secret]
    var certificate: String?
    var privateKey: String?

    init(_ secrets: SandboxSecrets) {
        entries = secrets.secrets.map {
            Secret(
                name: $0.name, placeholder: $0.placeholder, value: $0.value, hosts: $0.hosts, header: $0.header,
                format: $0.format)
        }
        certificate = secrets.authority?.certificate
        privateKey = secrets.authority?.privateKey
    }

    var secrets: SandboxSecrets {
        let authority = certificate.flatMap { certificate in
            privateKey.map { NetworkAuthority(certificate: certificate, privateKey: $0) }
        }
        return SandboxSecrets(
            secrets: entries.map {
                NetworkSecret(
                    name: $0.name, placeholder: $0.placeholder, value: $0.value, hosts: $0.hosts, header: $0.header,
                    format: $0.format)
            }, authority: authority)
    }
}
