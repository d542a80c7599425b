import SandboxModel

/// That a create with this key was done, and what it made.
package struct IdempotencyRecord: Sendable, Equatable {
    /// The caller's API key id, or the empty string for the unix socket.
    package var keyID: String
    package var key: String
    /// SHA-256 of the request.
    package var requestHash: [UInt8]
    /// The id of the sandbox or snapshot.
    package var made: String
    package var createdAt: Timestamp

    package init(keyID: String, key: String, requestHash: [UInt8], made: String, createdAt: Timestamp) {
        self.keyID = keyID
        self.key = key
        self.requestHash = requestHash
        self.made = made
        self.createdAt = createdAt
    }
}
