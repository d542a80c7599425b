import MartletAPI
import SandboxModel

/// A secret that was asked for and is fit to be used; it has no placeholder yet.
struct PlannedSecret: Sendable, CustomStringConvertible, CustomDebugStringConvertible {
    var name: String
    var value: String
    var hosts: [HostPattern]
    var header: String?
    var format: String

    /// Never the value.
    var description: String { "secret \(name)" }
    var debugDescription: String { description }
}

/// Bounds and form of the secrets a client gives.
struct SecretCheck {
    static let maxCount = 32
    static let maxNameBytes = 128
    static let maxValueBytes = 16 << 10
    static let maxHosts = 64
    static let maxHeaderBytes = 128
    static let maxFormatBytes = 1024
    /// The only variables of the daemon's environment that a request may name begin with it.
    static let variablePrefix = "MARTLET_SECRET_"
    /// Where the value goes in a format.
    static let mark = "{value}"

    /// What is about the connection and not the request (RFC 9110, section 7.6.1), or says where the request ends and
    /// whom it is for: the proxy's own business.
    private static let reservedHeaders: Set<String> = [
        "connection", "content-length", "host", "keep-alive", "proxy-authenticate", "proxy-authorization",
        "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade",
    ]

    /// The request's own environment, by name.
    let environment: [String: String]
    /// What of the daemon's environment may be read.
    let variables: [String: String]
    let caller: Caller

    /// - Throws: `invalid_argument` naming the field, `permission_denied`; none tells a value.
    func checked(_ requests: [SecretRequest]) throws(MartletError) -> [PlannedSecret] {
        guard requests.count <= SecretCheck.maxCount else {
            throw .invalid("secrets", "holds more than \(SecretCheck.maxCount)")
        }
        var secrets: [PlannedSecret] = []
        for (index, request) in requests.enumerated() {
            let secret = try checked(request, field: "secrets[\(index)]")
            if let other = secrets.firstIndex(where: { $0.name == secret.name }) {
                throw .invalid("secrets[\(index)].name", "'\(secret.name)' is the name of secrets[\(other)] too")
            }
            if let other = secrets.firstIndex(where: { $0.contends(with: secret) }) {
                throw .invalid(
                    "secrets[\(index)].header", "is set by secrets[\(other)] too, for a host that both have")
            }
            secrets.append(secret)
        }
        return secrets
    }

    private func checked(_ request: SecretRequest, field: String) throws(MartletError) -> PlannedSecret {
        let name = request.name
        guard EnvironmentCheck.isName(name), name.utf8.count <= SecretCheck.maxNameBytes else {
            throw .invalid(
                "\(field).name",
                "'\(name.printable)' is no name: letters, digits and _, no digit first, up to "
                    + "\(SecretCheck.maxNameBytes)")
        }
        guard environment[name] == nil else {
            throw .invalid("\(field).name", "'\(name)' is a variable of env too, and would hold the placeholder")
        }
        guard (1...SecretCheck.maxHosts).contains(request.hosts.count) else {
            throw .invalid("\(field).hosts", "must name 1 to \(SecretCheck.maxHosts) hosts")
        }
        try check(header: request.header, format: request.format, field: field)
        return PlannedSecret(
            name: name, value: try value(request.valueFrom, field: "\(field).value_from"), hosts: request.hosts,
            header: request.header, format: request.format ?? SecretCheck.mark)
    }

    private func value(_ source: SecretRequest.Source, field: String) throws(MartletError) -> String {
        let (value, place): (String, String)
        switch (source.value, source.env) {
        case (let given?, nil): (value, place) = (given, "\(field).value")
        case (nil, let name?): (value, place) = (try variable(name, field: "\(field).env"), "\(field).env")
        default: throw .invalid(field, "must have either value or env")
        }
        guard (1...SecretCheck.maxValueBytes).contains(value.utf8.count) else {
            throw .invalid(place, "must be 1 to \(SecretCheck.maxValueBytes) bytes")
        }
        guard SecretCheck.isFieldText(value) else {
            throw .invalid(place, "holds a line end, a NUL or another control character")
        }
        return value
    }

    private func variable(_ name: String, field: String) throws(MartletError) -> String {
        guard name.hasPrefix(SecretCheck.variablePrefix), EnvironmentCheck.isName(name) else {
            throw .invalid(
                field,
                "'\(name.printable)' cannot be read: only variables of the daemon named "
                    + "\(SecretCheck.variablePrefix)* can; give the secret as value otherwise")
        }
        // Whoever names a variable also says which host gets its value.
        guard caller.isAdmin else {
            throw MartletError(
                .permissionDenied,
                "\(field): variables of the daemon need an administrator's key; give the secret as "
                    + "value", details: ["field": field])
        }
        guard let value = variables[name] else {
            throw .invalid(field, "the daemon was started without a variable \(name)")
        }
        return value
    }

    private func check(header: String?, format: String?, field: String) throws(MartletError) {
        if let format {
            guard header != nil else { throw .invalid("\(field).format", "is for secrets with a header only") }
            guard format.utf8.count <= SecretCheck.maxFormatBytes, SecretCheck.isFieldText(format) else {
                throw .invalid(
                    "\(field).format",
                    "must be up to \(SecretCheck.maxFormatBytes) bytes without control characters")
            }
            guard format.contains(SecretCheck.mark) else {
                throw .invalid("\(field).format", "must have \(SecretCheck.mark) where the secret goes")
            }
        }
        guard let header else { return }
        guard (1...SecretCheck.maxHeaderBytes).contains(header.utf8.count),
            header.utf8.allSatisfy(SecretCheck.isTokenByte)
        else {
            throw .invalid("\(field).header", "'\(header.printable)' is no header's name")
        }
        guard !SecretCheck.reservedHeaders.contains(header.lowercased()) else {
            throw .invalid("\(field).header", "'\(header)' is the connection's own and cannot be set")
        }
    }

    /// RFC 9110, section 5.6.2.
    private static func isTokenByte(_ byte: UInt8) -> Bool {
        byte.isLetter || byte.isDigit || "!#$%&'*+-.^_`|~".utf8.contains(byte)
    }

    /// Whether a text can stand in a header: no control character but the tab (RFC 9110, section 5.5).
    private static func isFieldText(_ text: String) -> Bool {
        text.utf8.allSatisfy { $0 >= 32 && $0 != 127 || $0 == 9 }
    }
}

extension PlannedSecret {
    /// Whether both would set the same header of one request.
    fileprivate func contends(with other: PlannedSecret) -> Bool {
        guard let header, let otherHeader = other.header, header.lowercased() == otherHeader.lowercased() else {
            return false
        }
        return hosts.contains { host in other.hosts.contains { $0.overlaps(host) } }
    }
}

extension HostPattern {
    /// Whether some name matches both.
    fileprivate func overlaps(_ other: HostPattern) -> Bool {
        if self == other { return true }
        switch (isWildcard, other.isWildcard) {
        case (false, false): return false
        case (true, false): return matches(other.name)
        case (false, true): return other.matches(name)
        case (true, true): return matches(other.name) || other.matches(name)
        }
    }
}
