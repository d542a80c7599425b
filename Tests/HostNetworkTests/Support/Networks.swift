import FoundationEssentials
import NIOCore
import NIOSSL
import SandboxModel

@testable import HostNetwork

/// Policies of tests, in words.
enum Networks {
    static func allow(
        _ rules: String..., deny: [String] = [], connections: Int? = nil
    ) -> SandboxNetwork {
        SandboxNetwork(
            policy: NetworkPolicy(
                mode: .allowlist, allow: rules.map { NetworkRule($0[...])! }, deny: deny.map { NetworkRule($0[...])! },
                maxConnections: connections))
    }

    static func open(deny: String...) -> SandboxNetwork {
        SandboxNetwork(policy: NetworkPolicy(mode: .public, deny: deny.map { NetworkRule($0[...])! }))
    }
}

/// Authorities and certificates of tests' servers, and clients that speak TLS.
struct TestTLS {
    let authority: NetworkAuthority
    let issuer: LeafIssuer

    init() throws {
        authority = try NetworkAuthority.make(for: .random())
        issuer = try LeafIssuer(authority)
    }

    /// A client that trusts this authority.
    func client(_ name: String, protocols: [String] = ["http/1.1"]) throws -> NIOSSLClientHandler {
        var configuration = TLSConfiguration.makeClientConfiguration()
        configuration.trustRoots = .certificates([
            try NIOSSLCertificate(bytes: Array(authority.certificate.utf8), format: .pem)
        ])
        configuration.applicationProtocols = protocols
        return try NIOSSLClientHandler(context: NIOSSLContext(configuration: configuration), serverHostname: name)
    }

    /// A server that shows a certificate of this authority.
    func server(
        _ name: String, protocols: [String] = ["http/1.1"], expired: Bool = false
    ) throws -> NIOSSLContext {
        let now = Date()
        var configuration = try issuer.configuration(
            for: name, from: now - 86_400, until: expired ? now - 3600 : now + 86_400)
        configuration.applicationProtocols = protocols
        return try NIOSSLContext(configuration: configuration)
    }

    /// What a proxy trusts that is to trust this authority.
    func trust() throws -> UpstreamTrust {
        var configuration = TLSConfiguration.makeClientConfiguration()
        configuration.certificateVerification = .fullVerification
        configuration.applicationProtocols = ["http/1.1"]
        configuration.additionalTrustRoots = [
            .certificates([try NIOSSLCertificate(bytes: Array(authority.certificate.utf8), format: .pem)])
        ]
        return UpstreamTrust(context: try NIOSSLContext(configuration: configuration))
    }
}

extension Peer {
    /// Goes on in TLS; what is sent and read from now on is what is inside.
    func secure(_ handler: @autoclosure @escaping @Sendable () throws -> NIOSSLClientHandler) async throws {
        let channel = channel
        try await channel.eventLoop.submit {
            try channel.pipeline.syncOperations.addHandler(handler(), position: .first)
        }.get()
    }
}
