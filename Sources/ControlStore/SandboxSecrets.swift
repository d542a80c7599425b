import SandboxModel

/// What a sandbox's network has that nobody but the network may see.
package struct SandboxSecrets: Sendable, Equatable {
    package var secrets: [NetworkSecret]
    package var authority: NetworkAuthority?

    package init(secrets: [NetworkSecret], authority: NetworkAuthority?) {
        self.secrets = secrets
        self.authority = authority
    }
}

/// What may be told of a secret: everything but its value.
package struct SecretFacts: Codable, Sendable, Equatable {
    package var name: String
    package var placeholder: String
    package var hosts: [HostPattern]
    package var header: String?

    package init(_ secret: NetworkSecret) {
        name = secret.name
        placeholder = secret.placeholder
        hosts = secret.hosts
        header = secret.header
    }
}

/// A sandbox's secrets as they are kept: encrypted, with what may be told of them beside. What decides is what is
/// encrypted.
package struct SealedSecrets: Sendable, Equatable {
    package var bytes: [UInt8]
    package var facts: [SecretFacts]

    package init(bytes: [UInt8], facts: [SecretFacts]) {
        self.bytes = bytes
        self.facts = facts
    }
}
