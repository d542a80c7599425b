/// Who may reach a published port of a sandbox.
public enum PortVisibility: String, Sendable, Codable, CaseIterable {
    /// Whoever has the port's token, and the sandbox's owner.
    case `private`
    /// Whoever knows its address.
    case `public`

    public init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        guard let value = PortVisibility(rawValue: try container.decode(String.self)) else {
            throw DecodingError.dataCorruptedError(in: container, debugDescription: "must be 'private' or 'public'")
        }
        self = value
    }
}
