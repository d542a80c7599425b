import Crypto
import FoundationEssentials
import SandboxModel
import SwiftASN1
import X509

extension NetworkAuthority {
    /// How long it is good for: longer than any sandbox is kept paused.
    private static let lifetime: TimeInterval = 10 * 365 * 86_400
    /// A guest's clock may be behind the host's.
    private static let leeway: TimeInterval = 86_400

    /// Makes an authority of a sandbox's own: a key on P-256 and a certificate it signs itself (RFC 5280, section 4.2.1),
    /// which may sign certificates of servers and no further authority.
    package static func make(for id: SandboxID) throws(MartletError) -> NetworkAuthority {
        do {
            let key = P256.Signing.PrivateKey()
            let signer = Certificate.PrivateKey(key)
            let name = try DistinguishedName {
                OrganizationName("Martlet")
                CommonName("Martlet sandbox \(id)")
            }
            let now = Date()
            let certificate = try Certificate(
                version: .v3, serialNumber: Certificate.SerialNumber(), publicKey: signer.publicKey,
                notValidBefore: now - leeway, notValidAfter: now + lifetime, issuer: name, subject: name,
                signatureAlgorithm: .ecdsaWithSHA256,
                extensions: try Certificate.Extensions {
                    Critical(BasicConstraints.isCertificateAuthority(maxPathLength: 0))
                    Critical(KeyUsage(keyCertSign: true, cRLSign: true))
                    SubjectKeyIdentifier(hash: signer.publicKey)
                }, issuerPrivateKey: signer)
            return NetworkAuthority(
                certificate: try certificate.serializeAsPEM().pemString + "\n",
                privateKey: key.pemRepresentation + "\n")
        } catch {
            throw MartletError(.internal, "make certificate authority: \(id): \(error)")
        }
    }
}
