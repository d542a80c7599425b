import SandboxModel

/// One line of a sandbox's history.
package struct EventRecord: Sendable, Equatable {
    /// Its place among all events; 0 before it is stored.
    package var sequence: Int64
    package var sandboxID: SandboxID
    package var time: Timestamp
    package var kind: String
    package var message: String
    package var details: [String: String]

    package init(
        sequence: Int64 = 0, sandboxID: SandboxID, time: Timestamp, kind: String, message: String,
        details: [String: String] = [:]
    ) {
        self.sequence = sequence
        self.sandboxID = sandboxID
        self.time = time
        self.kind = kind
        self.message = message
        self.details = details
    }
}
