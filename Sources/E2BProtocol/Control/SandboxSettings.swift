import FoundationEssentials

/// What E2B's clients ask of a sandbox that has no counterpart of our own. Kept beside the sandbox as JSON: a format, so
/// fields may be added, and none changes its meaning.
package struct SandboxSettings: Codable, Sendable, Equatable {
    /// What clients are told it was made from: a template's name or a snapshot's id.
    package var templateID: String
    /// The name a client used for that.
    package var alias: String?
    /// Whether a request wakes it when it is paused.
    package var autoResume: Bool
    /// Whether a pause at its time-out keeps the memory.
    package var keepsMemory: Bool
    /// Whether whoever knows its id may reach its ports.
    package var isPublic: Bool
    /// As it was asked for; nil when it was not.
    package var internetAccess: Bool?
    /// As it was asked for.
    package var network: NetworkConfig?
    /// Who programs run as, and where they begin, unless the client says so; nil is what E2B has.
    package var user: String?
    package var workingDirectory: String?
    /// Of a paused sandbox that was paused on request: whether its memory is to be used.
    package var pausedWithMemory: Bool?

    package init(
        templateID: String, alias: String?, autoResume: Bool = false, keepsMemory: Bool = true, isPublic: Bool = false,
        internetAccess: Bool? = nil, network: NetworkConfig? = nil
    ) {
        self.templateID = templateID
        self.alias = alias
        self.autoResume = autoResume
        self.keepsMemory = keepsMemory
        self.isPublic = isPublic
        self.internetAccess = internetAccess
        self.network = network
    }

    /// Reads what `text` wrote; nil for anything else.
    package init?(_ text: String) {
        guard let settings = try? JSONDecoder().decode(SandboxSettings.self, from: Data(text.utf8)) else { return nil }
        self = settings
    }

    package var text: String {
        get throws {
            let encoder = JSONEncoder()
            encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
            return String(decoding: try encoder.encode(self), as: UTF8.self)
        }
    }
}
