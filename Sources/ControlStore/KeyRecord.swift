import SandboxModel

/// What is kept of an API key: never the key itself.
package struct KeyRecord: Sendable, Equatable {
    package var id: String
    /// SHA-256 of the key, 32 bytes.
    package var hash: [UInt8]
    package var label: String
    /// Sees every sandbox and may change templates.
    package var isAdmin: Bool
    package var createdAt: Timestamp
    /// nil: the server's setting.
    package var maxSandboxes: Int?
    package var revokedAt: Timestamp?

    package init(
        id: String, hash: [UInt8], label: String, isAdmin: Bool, createdAt: Timestamp, maxSandboxes: Int? = nil,
        revokedAt: Timestamp? = nil
    ) {
        self.id = id
        self.hash = hash
        self.label = label
        self.isAdmin = isAdmin
        self.createdAt = createdAt
        self.maxSandboxes = maxSandboxes
        self.revokedAt = revokedAt
    }
}
