/// A JSON request body. The server refuses fields that are not in `fields`, naming the first one.
public protocol APIRequest: Codable, Sendable {
    static var fields: [String] { get }
    /// The fields of objects within, by where they are: `secrets.value_from` is that of every element of `secrets`. Only
    /// needed for those that may be null.
    static var innerFields: [String: [String]] { get }
}

extension APIRequest {
    public static var innerFields: [String: [String]] { [:] }
}

/// A page of a list.
public struct Page<Item: Codable & Sendable>: Codable, Sendable {
    public var items: [Item]
    /// Pass as `cursor` for the next page; nil on the last.
    public var nextCursor: String?

    public init(items: [Item], nextCursor: String?) {
        self.items = items
        self.nextCursor = nextCursor
    }

    enum CodingKeys: String, CodingKey {
        case items
        case nextCursor = "next_cursor"
    }
}

/// The body of every error answer.
public struct ErrorBody: Codable, Sendable {
    public struct Detail: Codable, Sendable {
        public var code: String
        public var message: String
        public var details: [String: String]
        public var requestID: String

        public init(code: String, message: String, details: [String: String], requestID: String) {
            self.code = code
            self.message = message
            self.details = details
            self.requestID = requestID
        }

        enum CodingKeys: String, CodingKey {
            case code, message, details
            case requestID = "request_id"
        }
    }

    public var error: Detail

    public init(error: Detail) { self.error = error }
}
