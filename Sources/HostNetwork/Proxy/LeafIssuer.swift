import Crypto
import FoundationEssentials
import NIOSSL
import SandboxModel
import SwiftASN1
import Synchronization
import X509

/// Makes the certificates one sandbox's proxy shows for hosts that have a secret.
final class LeafIssuer: Sendable {
    /// Certificates kept; the names are those of the policy, or below its wildcards.
    static let maxKept = 256
    private static let day: TimeInterval = 86_400

    private let authority: Certificate
    private let authorityKey: Certificate.PrivateKey
    private let key: P256.Signing.PrivateKey
    private let kept = Mutex<[String: (context: NIOSSLContext, expires: Date)]>([:])

    /// Reads the authority.
    ///
    /// - Throws: `internal` when it cannot be read; says nothing of the key.
    init(_ authority: NetworkAuthority) throws(MartletError) {
        do {
            self.authority = try Certificate(pemEncoded: authority.certificate)
            authorityKey = try Certificate.PrivateKey(pemEncoded: authority.privateKey)
            key = P256.Signing.PrivateKey()
        } catch {
            throw MartletError(.internal, "network: a sandbox's certificate authority cannot be read")
        }
    }

    /// What TLS for a name is ended with.
    ///
    /// Preconditions: `name` is normalized.
    func context(for name: String) throws -> NIOSSLContext {
        let now = Date()
        if let known = kept.withLock({ $0[name] }), known.expires > now + LeafIssuer.day { return known.context }
        let expires = now + 7 * LeafIssuer.day
        let context = try NIOSSLContext(
            configuration: configuration(for: name, from: now - LeafIssuer.day, until: expires))
        kept.withLock {
            if $0.count >= LeafIssuer.maxKept { $0.removeAll() }
            $0[name] = (context, expires)
        }
        return context
    }

    func configuration(for name: String, from: Date, until: Date) throws -> TLSConfiguration {
        let leaf = try certificate(for: name, from: from, until: until)
        var configuration = TLSConfiguration.makeServerConfiguration(
            certificateChain: [.certificate(try LeafIssuer.nio(leaf))],
            privateKey: .privateKey(try NIOSSLPrivateKey(bytes: Array(key.derRepresentation), format: .der)))
        configuration.minimumTLSVersion = .tlsv12
        configuration.applicationProtocols = ["http/1.1"]
        configuration.shutdownTimeout = UpstreamTrust.parting
        return configuration
    }

    private func certificate(for name: String, from: Date, until: Date) throws -> Certificate {
        // A common name has 64 characters at the most (RFC 5280, ub-common-name); what counts is the alternative name.
        let subject = try DistinguishedName { CommonName(name.utf8.count <= 64 ? name : "Martlet") }
        let publicKey = Certificate.PublicKey(key.publicKey)
        return try Certificate(
            version: .v3, serialNumber: Certificate.SerialNumber(), publicKey: publicKey, notValidBefore: from,
            notValidAfter: until, issuer: authority.subject, subject: subject,
            signatureAlgorithm: .ecdsaWithSHA256,
            extensions: try Certificate.Extensions {
                Critical(BasicConstraints.notCertificateAuthority)
                Critical(KeyUsage(digitalSignature: true))
                try ExtendedKeyUsage([.serverAuth])
                SubjectAlternativeNames([.dnsName(name)])
                SubjectKeyIdentifier(hash: publicKey)
                AuthorityKeyIdentifier(
                    keyIdentifier: try authority.extensions.subjectKeyIdentifier?.keyIdentifier)
            }, issuerPrivateKey: authorityKey)
    }

    private static func nio(_ certificate: Certificate) throws -> NIOSSLCertificate {
        var serializer = DER.Serializer()
        try serializer.serialize(certificate)
        return try NIOSSLCertificate(bytes: serializer.serializedBytes, format: .der)
    }
}
