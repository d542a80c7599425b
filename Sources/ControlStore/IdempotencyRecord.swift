import SandboxModel

/// That a create with this key was done, and what it made.
package struct IdempotencyRecord: Sendable, Equatable {
    /// The caller's API key id, or the empty string for the unix socket.
    package var keyID: String
    package var key: String
    /// SHA-256 of the request.
    package var requestHash: [UInt8]
    package var sandboxID: SandboxID
    package var createdAt: Timestamp

    package init(keyID: String, key: String, requestHash: [UInt8], sandboxID: SandboxID, createdAt: Timestamp) {
        self.keyID = keyID
        self.key = key
        self.requestHash = requestHash
        self.sandboxID = sandboxID
        self.createdAt = createdAt
    }
}
