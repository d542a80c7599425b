import FoundationEssentials
import NIOHTTP1
import SandboxModel

/// Puts secrets into the head of a request, and takes them out of the head of an answer. Pure.
///
/// Never into a body: services keep bodies and hand them out again, bodies are signed and counted, and a secret there
/// would come back to the guest by the next read. For the same reason it is not put into a header that says how a
/// message is carried or to whom it goes, nor into the name of one.
struct SecretRewriter {
    /// A secret that cannot stand where it belongs; says which, never what.
    struct Unfit: Error, Equatable {
        var secret: String
    }

    /// Header fields that are never touched.
    private static let untouched: Set<String> = [
        "host", "connection", "content-length", "transfer-encoding", "upgrade", "te", "trailer", "expect",
        "sec-websocket-key",
    ]
    /// A value as short as this is found everywhere by chance.
    private static let shortestConcealed = 8

    private let secrets: [NetworkSecret]

    /// - Parameter secrets: those of the very host a request goes to.
    init(_ secrets: [NetworkSecret]) { self.secrets = secrets }

    // MARK: Requests

    func reveal(in head: inout HTTPRequestHead) throws(Unfit) {
        for secret in secrets {
            if let header = secret.header {
                guard !SecretRewriter.untouched.contains(header.lowercased()) else { continue }
                let value = secret.format.replacing("{value}", with: secret.value)
                guard SecretRewriter.fitsHeader(value) else { throw Unfit(secret: secret.name) }
                head.headers.replaceOrAdd(name: header, value: value)
            } else if !secret.placeholder.isEmpty {
                try revealHeaders(secret, in: &head.headers)
                if head.uri.contains(secret.placeholder) {
                    head.uri = head.uri.replacing(
                        secret.placeholder, with: SecretRewriter.percentEncoded(secret.value))
                }
            }
        }
    }

    private func revealHeaders(_ secret: NetworkSecret, in headers: inout HTTPHeaders) throws(Unfit) {
        var changed = false
        var result: [(String, String)] = []
        for (name, value) in headers {
            let new = SecretRewriter.untouched.contains(name.lowercased()) ? nil : revealed(secret, in: value)
            if let new {
                guard SecretRewriter.fitsHeader(new) else { throw Unfit(secret: secret.name) }
                changed = true
            }
            result.append((name, new ?? value))
        }
        if changed { headers = HTTPHeaders(result) }
    }

    /// A header's value with the secret in it; nil when its placeholder is not there.
    private func revealed(_ secret: NetworkSecret, in value: String) -> String? {
        if value.contains(secret.placeholder) { return value.replacing(secret.placeholder, with: secret.value) }
        // What clients make of a user and a password (RFC 7617).
        let parts = value.split(separator: " ", maxSplits: 1)
        guard parts.count == 2, parts[0].lowercased() == "basic",
            let decoded = Data(base64Encoded: String(parts[1].trimmingPrefix { $0 == " " }))
        else { return nil }
        let credentials = Array(decoded)
        let placeholder = Array(secret.placeholder.utf8)
        guard let replaced = SecretRewriter.replacing(placeholder, in: credentials, with: Array(secret.value.utf8))
        else { return nil }
        return "\(parts[0]) \(Data(replaced).base64EncodedString())"
    }

    static func replacing(_ part: [UInt8], in bytes: [UInt8], with other: [UInt8]) -> [UInt8]? {
        guard !part.isEmpty, bytes.count >= part.count else { return nil }
        var result: [UInt8] = []
        var found = false
        var position = 0
        while position < bytes.count {
            if bytes[position...].starts(with: part) {
                result.append(contentsOf: other)
                position += part.count
                found = true
            } else {
                result.append(bytes[position])
                position += 1
            }
        }
        return found ? result : nil
    }

    /// Whether a value can stand in a header without ending it (RFC 9110 section 5.5).
    static func fitsHeader(_ value: String) -> Bool { value.utf8.allSatisfy { $0 >= 32 && $0 != 127 || $0 == 9 } }

    /// A value as part of a path or a query, in which it can be nothing but data (RFC 3986 section 2).
    static func percentEncoded(_ value: String) -> String {
        let digits = Array("0123456789ABCDEF".utf8)
        var result: [UInt8] = []
        for byte in value.utf8 {
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"),
                UInt8(ascii: "~"), UInt8(ascii: ":"), UInt8(ascii: "@"), UInt8(ascii: "!"), UInt8(ascii: "$"),
                UInt8(ascii: "'"), UInt8(ascii: "("), UInt8(ascii: ")"), UInt8(ascii: "*"), UInt8(ascii: ","):
                result.append(byte)
            default: result += [UInt8(ascii: "%"), digits[Int(byte >> 4)], digits[Int(byte & 15)]]
            }
        }
        return String(decoding: result, as: UTF8.self)
    }

    // MARK: Answers

    /// Takes values out of an answer's headers: a redirect repeats the request's target, for one. Bodies are passed as
    /// they are: a host that gives back what it is sent must not be given a secret.
    func conceal(in headers: inout HTTPHeaders) {
        var changed = false
        var result: [(String, String)] = []
        for (name, value) in headers {
            var new = value
            for secret in secrets where secret.value.utf8.count >= SecretRewriter.shortestConcealed {
                for form in [secret.value, SecretRewriter.percentEncoded(secret.value)] where new.contains(form) {
                    new = new.replacing(form, with: secret.placeholder)
                    changed = true
                }
            }
            result.append((name, new))
        }
        if changed { headers = HTTPHeaders(result) }
    }
}
