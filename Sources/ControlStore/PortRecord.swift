import SandboxModel

/// What is kept of a published port: never the token itself.
package struct PortRecord: Sendable, Equatable {
    package var sandbox: SandboxID
    package var port: UInt16
    package var visibility: PortVisibility
    /// nil: as the sandbox's time-out action says.
    package var wake: Bool?
    /// SHA-256 of a private port's token, 32 bytes.
    package var tokenHash: [UInt8]?
    package var createdAt: Timestamp
    /// When the token of a private port, or the publication of a public one, is over.
    package var expiresAt: Timestamp?

    package init(
        sandbox: SandboxID, port: UInt16, visibility: PortVisibility, wake: Bool?, tokenHash: [UInt8]?,
        createdAt: Timestamp, expiresAt: Timestamp?
    ) {
        self.sandbox = sandbox
        self.port = port
        self.visibility = visibility
        self.wake = wake
        self.tokenHash = tokenHash
        self.createdAt = createdAt
        self.expiresAt = expiresAt
    }
}
