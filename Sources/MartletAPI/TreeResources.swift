import SandboxModel

/// `GET …/{id}/tree`: the family of a sandbox, as far as it is known and the caller may see it.
public struct TreeResource: Codable, Sendable {
    /// One sandbox, snapshot or checkpoint.
    public struct Node: Codable, Sendable {
        public enum Kind: String, Codable, Sendable, CaseIterable {
            case sandbox, snapshot, checkpoint
        }

        public var id: String
        public var kind: Kind
        public var name: String?
        /// Of a checkpoint.
        public var number: Int?
        /// Of a snapshot or checkpoint: the sandbox it was taken of.
        public var sandbox: String?
        /// The node it hangs on; nil for the oldest ones.
        public var parent: String?
        /// The sandbox's or snapshot's state.
        public var state: String
        /// When it was made or taken.
        public var at: Timestamp
        /// Whether the sandbox that was asked for stands here now.
        public var isCurrent: Bool

        public init(
            id: String, kind: Kind, name: String?, number: Int?, sandbox: String?, parent: String?, state: String,
            at: Timestamp, isCurrent: Bool
        ) {
            self.id = id
            self.kind = kind
            self.name = name
            self.number = number
            self.sandbox = sandbox
            self.parent = parent
            self.state = state
            self.at = at
            self.isCurrent = isCurrent
        }

        enum CodingKeys: String, CodingKey {
            case id, kind, name, number, sandbox, parent, state, at
            case isCurrent = "is_current"
        }
    }

    /// Oldest first; a node comes after the one it hangs on.
    public var nodes: [Node]

    public init(nodes: [Node]) { self.nodes = nodes }
}
