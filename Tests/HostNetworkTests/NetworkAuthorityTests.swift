import Crypto
import FoundationEssentials
import HostNetwork
import SandboxModel
import SwiftASN1
import Testing
import X509

@Suite struct NetworkAuthorityTests {
    @Test func anAuthorityMaySignServersAndNothingElse() throws {
        let id = SandboxID.random()
        let authority = try NetworkAuthority.make(for: id)
        let certificate = try Certificate(pemEncoded: authority.certificate)
        let key = try P256.Signing.PrivateKey(pemRepresentation: authority.privateKey)
        #expect(certificate.publicKey == Certificate.PublicKey(key.publicKey))
        #expect(certificate.publicKey.isValidSignature(certificate.signature, for: certificate))
        #expect("\(certificate.subject)".contains(id.rawValue))
        let constraints = try #require(try certificate.extensions.basicConstraints)
        #expect(constraints == .isCertificateAuthority(maxPathLength: 0))
        #expect(try certificate.extensions.keyUsage?.keyCertSign == true)
        #expect(certificate.notValidBefore < Date() && certificate.notValidAfter > Date() + 365 * 86_400)
    }

    @Test func noTwoSandboxesShareOneAndItsKeyIsNotPrinted() throws {
        let id = SandboxID.random()
        let (one, other) = (try NetworkAuthority.make(for: id), try NetworkAuthority.make(for: id))
        #expect(one.privateKey != other.privateKey && one.certificate != other.certificate)
        #expect(!"\(one)".contains("PRIVATE"))
    }
}
