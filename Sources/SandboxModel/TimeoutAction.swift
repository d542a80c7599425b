/// What becomes of a sandbox when its time is over.
public enum TimeoutAction: String, Sendable, Codable, CaseIterable {
    /// It is ended and removed.
    case kill
    /// It is paused, and goes on with the next request that needs its guest.
    case pause

    public init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        guard let value = TimeoutAction(rawValue: try container.decode(String.self)) else {
            throw DecodingError.dataCorruptedError(in: container, debugDescription: "must be 'kill' or 'pause'")
        }
        self = value
    }
}
