import ControlPlane
import HTTPTypes
import NIOHTTP1

/// What a visitor presents to be let in, and a request without it: none of it is the sandbox's to see.
struct PreviewSecrets: Sendable {
    /// The query's and the cookie's name.
    static let name = "martlet_token"
    static let header = "x-martlet-token"
    /// A client of E2B sends the sandbox's tokens in these; to others the second is a field like any other.
    private static let trafficHeader = HTTPField.Name.trafficToken.canonicalName
    private static let accessHeader = HTTPField.Name.accessToken.canonicalName
    /// More than so many are not looked at.
    private static let limit = 8

    /// Tokens from the header, the query and the cookie, in this order.
    private(set) var tokens: [String] = []
    /// Tokens of the sandbox itself, as E2B's clients send them.
    private(set) var sandboxTokens: [String] = []
    /// API keys, in whichever header.
    private(set) var keys: [String] = []
    /// Whether a token stood in the query.
    private(set) var hasQueryToken = false
    /// The target without the token.
    private(set) var target: String
    /// The header fields without tokens and keys.
    private(set) var headers = HTTPHeaders()

    init(target: String, headers: HTTPHeaders) {
        self.target = target
        var cookieTokens: [String] = []
        let speaksE2B = headers.contains(name: HTTPField.Name.e2bSandbox.rawName)
        for (name, value) in headers {
            switch name.lowercased() {
            case PreviewSecrets.header: tokens.append(value)
            case PreviewSecrets.trafficHeader: sandboxTokens.append(value)
            case PreviewSecrets.accessHeader where speaksE2B: sandboxTokens.append(value)
            case "authorization":
                let parts = value.split(separator: " ", maxSplits: 1)
                if parts.count == 2, parts[0].lowercased() == "bearer" {
                    let key = parts[1].drop { $0 == " " }
                    if Keys.isKeyLike(key) {
                        keys.append(String(key))
                        continue
                    }
                }
                self.headers.add(name: name, value: value)
            case "x-api-key" where Keys.isKeyLike(value): keys.append(value)
            case "cookie":
                let rest = PreviewSecrets.withoutToken(cookies: value, found: &cookieTokens)
                if !rest.isEmpty { self.headers.add(name: name, value: rest) }
            case "referer":
                // The page before may have been opened with the token in its address.
                if !PreviewSecrets.mentionsToken(value) { self.headers.add(name: name, value: value) }
            default: self.headers.add(name: name, value: value)
            }
        }
        takeQueryTokens()
        tokens = Array((tokens + cookieTokens).prefix(PreviewSecrets.limit))
        keys = Array(keys.prefix(PreviewSecrets.limit))
        sandboxTokens = Array(sandboxTokens.prefix(PreviewSecrets.limit))
    }

    private mutating func takeQueryTokens() {
        let (path, query) = PreviewRouting.split(target)
        guard let query else { return }
        var rest: [Substring] = []
        for pair in query.split(separator: "&", omittingEmptySubsequences: false) {
            let parts = pair.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            guard let name = parts.first, PreviewSecrets.decoded(name) == PreviewSecrets.name else {
                rest.append(pair)
                continue
            }
            hasQueryToken = true
            if parts.count == 2 { tokens.append(PreviewSecrets.decoded(parts[1])) }
        }
        guard hasQueryToken else { return }
        target = String(path) + (rest.isEmpty ? "" : "?" + rest.joined(separator: "&"))
    }

    /// A `Cookie` field's value without our cookie (RFC 6265, section 4.2.1).
    private static func withoutToken(cookies: String, found: inout [String]) -> String {
        var rest: [Substring] = []
        for pair in cookies.split(separator: ";", omittingEmptySubsequences: true) {
            let trimmed = pair.drop { $0 == " " || $0 == "\t" }
            let parts = trimmed.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            var name = parts.first ?? ""
            while name.hasSuffix(" ") || name.hasSuffix("\t") { name = name.dropLast() }
            guard name == PreviewSecrets.name else {
                if !trimmed.isEmpty { rest.append(trimmed) }
                continue
            }
            if parts.count == 2 { found.append(String(parts[1].filter { $0 != "\"" && $0 != " " })) }
        }
        return rest.joined(separator: "; ")
    }

    private static func mentionsToken(_ address: String) -> Bool {
        let (_, query) = PreviewRouting.split(address)
        return query?.split(separator: "&").contains { pair in
            decoded(pair.split(separator: "=", maxSplits: 1).first ?? "") == name
        } ?? false
    }

    /// Percent-decoded; what is not percent-encoded well stays as it is.
    private static func decoded(_ text: Substring) -> String {
        guard text.utf8.contains(UInt8(ascii: "%")) else { return String(text) }
        var bytes: [UInt8] = []
        var rest = Array(text.utf8)[...]
        while let byte = rest.popFirst() {
            if byte == UInt8(ascii: "%"), rest.count >= 2,
                let digits = String(validating: rest.prefix(2), as: UTF8.self),
                let value = UInt8(digits, radix: 16), digits.first != "+"
            {
                bytes.append(value)
                rest = rest.dropFirst(2)
            } else {
                bytes.append(byte)
            }
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}
