/// Who asks: an API key's owner, or the machine's own user on the unix socket.
package struct Caller: Sendable, Equatable {
    /// nil for the unix socket.
    package let keyID: String?
    /// Sees the sandboxes of every key, and may change templates.
    package let isAdmin: Bool
    /// The key's own limit; nil leaves it to the settings.
    package let maxSandboxes: Int?

    package init(keyID: String?, isAdmin: Bool, maxSandboxes: Int? = nil) {
        self.keyID = keyID
        self.isAdmin = isAdmin
        self.maxSandboxes = maxSandboxes
    }

    /// The user who may open the unix socket, which file permissions decide.
    package static let local = Caller(keyID: nil, isAdmin: true)
}
