import NIOHTTP1

/// Keeps a sandbox's redirects on the API's origin below its own path: a client that follows them with its API key must
/// not be led to the rest of the API. Addresses elsewhere are left as they are.
struct LocationConfinement {
    let prefix: String
    let port: UInt16
    let request: HTTPRequestHead

    /// The address to send instead.
    func confined(_ location: String) -> String {
        // Browsers take one for a slash, and pass over tabs.
        let text = location.replacing("\\", with: "/").replacing("\t", with: "")
        if let (scheme, rest) = LocationConfinement.scheme(of: text) {
            guard ["http", "https"].contains(scheme) else { return text }
            // One slash, or none, is taken for two by browsers.
            return elsewhere(rest.drop { $0 == "/" }) ?? "\(scheme)://\(rest.drop { $0 == "/" })"
        }
        if text.hasPrefix("//") { return elsewhere(text.drop { $0 == "/" }) ?? "//\(text.drop { $0 == "/" })" }
        return prefix + path(of: text)
    }

    /// The path below ours of an address that names this origin or the service; nil for any other.
    private func elsewhere(_ text: Substring) -> String? {
        let end = text.firstIndex { $0 == "/" || $0 == "?" || $0 == "#" } ?? text.endIndex
        let authority = text[..<end].split(separator: "@", omittingEmptySubsequences: false).last?.lowercased() ?? ""
        let ours = request.headers.first(name: "host")?.lowercased()
        let services = ["localhost:\(port)", "127.0.0.1:\(port)", "[::1]:\(port)", ""]
        guard authority == ours || services.contains(authority) else { return nil }
        let rest = text[end...]
        return prefix + path(of: rest.hasPrefix("/") ? String(rest) : "/\(rest)")
    }

    /// The absolute path that a reference means, seen from the path of the request, without dot segments (RFC 3986,
    /// section 5.2), with what stands behind it.
    private func path(of reference: String) -> String {
        let end = reference.firstIndex { $0 == "?" || $0 == "#" } ?? reference.endIndex
        let path = reference[..<end]
        var segments: [Substring] = []
        if !path.hasPrefix("/") {
            let own = PreviewRouting.split(String(request.uri.dropFirst(prefix.count))).path
            segments = own.split(separator: "/", omittingEmptySubsequences: false).dropFirst().map { $0 }
            if path.isEmpty { return "/" + segments.joined(separator: "/") + reference[end...] }
            segments = Array(segments.dropLast())
        }
        let added = path.split(separator: "/", omittingEmptySubsequences: false)
        for segment in path.hasPrefix("/") ? added.dropFirst() : added[...] {
            switch LocationConfinement.dots(segment) {
            case 1: continue
            case 2: _ = segments.popLast()
            default: segments.append(segment)
            }
        }
        if let last = added.last, LocationConfinement.dots(last) > 0 { segments.append("") }
        return "/" + segments.joined(separator: "/") + reference[end...]
    }

    /// 1 for `.`, 2 for `..`, also when their dots are percent-encoded; else 0.
    private static func dots(_ segment: Substring) -> Int {
        switch segment.lowercased().replacing("%2e", with: ".") {
        case ".": 1
        case "..": 2
        default: 0
        }
    }

    private static func scheme(of text: String) -> (scheme: String, rest: Substring)? {
        guard let colon = text.firstIndex(of: ":") else { return nil }
        let scheme = text[..<colon].lowercased()
        guard let first = scheme.utf8.first, (97...122).contains(first),
            scheme.utf8.allSatisfy({ (97...122).contains($0) || (48...57).contains($0) || "+-.".utf8.contains($0) })
        else { return nil }
        return (scheme, text[text.index(after: colon)...])
    }
}
