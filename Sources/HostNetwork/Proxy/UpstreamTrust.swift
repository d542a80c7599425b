import NIOCore
import NIOSSL
import SandboxModel

/// Against which authorities the servers of hosts with secrets are verified.
package struct UpstreamTrust: Sendable {
    let context: NIOSSLContext
    /// How long the other side of a connection that ends is waited for to say so too.
    static let parting: TimeAmount = .seconds(1)

    /// Reads the system's authorities and those of a PEM file; reads files, so call it where waiting is no harm.
    ///
    /// - Throws: `failed_precondition` when a file cannot be read as PEM.
    package static func load(extraTrustRoots: String? = nil) throws(MartletError) -> UpstreamTrust {
        do {
            var configuration = TLSConfiguration.makeClientConfiguration()
            configuration.certificateVerification = .fullVerification
            configuration.minimumTLSVersion = .tlsv12
            // What comes back is parsed as HTTP/1.1.
            configuration.applicationProtocols = ["http/1.1"]
            configuration.shutdownTimeout = UpstreamTrust.parting
            if let extraTrustRoots {
                configuration.additionalTrustRoots = [
                    .certificates(try NIOSSLCertificate.fromPEMFile(extraTrustRoots))
                ]
            }
            return UpstreamTrust(context: try NIOSSLContext(configuration: configuration))
        } catch {
            let what = extraTrustRoots.map { "the system's or those of \($0)" } ?? "the system's"
            throw MartletError(
                .failedPrecondition, "network: trusted authorities: \(what) cannot be read as PEM: \(error)")
        }
    }
}
