import SandboxModel
import Yams

extension TemplateParser {
    private static let maxServices = 16
    private static let serviceKeys: Set<String> = ["name", "command", "user", "cwd", "env", "ready"]
    private static let readyKeys: Set<String> = ["port", "file", "command", "within_seconds"]

    func services(_ key: String, _ node: Node) throws(MartletError) -> [TemplateService] {
        var services: [TemplateService] = []
        for entry in try list(key, node, limit: TemplateParser.maxServices) {
            let service = try service(key, entry)
            guard !services.contains(where: { $0.name == service.name }) else {
                throw problem(key, "'\(service.name)' is there twice")
            }
            services.append(service)
        }
        return services
    }

    private func service(_ key: String, _ node: Node) throws(MartletError) -> TemplateService {
        let fields = try fields(key, node, TemplateParser.serviceKeys)
        guard let nameNode = fields["name"], let commandNode = fields["command"] else {
            throw problem(key, "each entry must have a name and a command")
        }
        let name = try checked("\(key).name", text(key, nameNode), "must be 1-63 characters of a-z, 0-9 and '-'") {
            SandboxName(rawValue: $0) != nil
        }
        var service = TemplateService(name: name, command: try command("\(key).\(name).command", commandNode))
        if let user = fields["user"] { service.user = try userName("\(key).\(name).user", user) }
        if let directory = fields["cwd"] {
            service.workingDirectory = try absolutePath("\(key).\(name).cwd", directory)
        }
        if let variables = fields["env"] {
            service.environment = try environment("\(key).\(name).env", variables).sorted { $0.key < $1.key }
                .map { "\($0.key)=\($0.value)" }
        }
        if let ready = fields["ready"] { try readiness("\(key).\(name).ready", ready, &service) }
        return service
    }

    private func readiness(_ key: String, _ node: Node, _ service: inout TemplateService) throws(MartletError) {
        let fields = try fields(key, node, TemplateParser.readyKeys)
        if let seconds = fields["within_seconds"] {
            service.readySeconds = try number("\(key).within_seconds", seconds, 1...600)
        }
        switch (fields["port"], fields["file"], fields["command"]) {
        case (let port?, nil, nil):
            service.readiness = .port(UInt16(clamping: try number("\(key).port", port, 1...65_535)))
        case (nil, let file?, nil): service.readiness = .file(try absolutePath("\(key).file", file))
        case (nil, nil, let words?): service.readiness = .command(try command("\(key).command", words))
        default: throw problem(key, "must have one of port, file and command")
        }
    }

    /// Other names of the template.
    func aliases(_ key: String, _ node: Node) throws(MartletError) -> [String] {
        var names: [String] = []
        for entry in try list(key, node, limit: 16) {
            let alias = try checked(key, text(key, entry), "must be 1-63 characters of a-z, 0-9 and '-'") {
                SandboxName(rawValue: $0) != nil && $0 != name
            }
            guard !names.contains(alias) else { throw problem(key, "'\(alias)' is there twice") }
            names.append(alias)
        }
        return names
    }

    /// Container images it stands in for, as references such as `python:3.11-slim`.
    func images(_ key: String, _ node: Node) throws(MartletError) -> [String] {
        var images: [String] = []
        for entry in try list(key, node, limit: 64) {
            images.append(
                try checked(key, text(key, entry), "must be a name such as python:3.11") { name in
                    (1...128).contains(name.utf8.count)
                        && name.allSatisfy { $0.isASCII && ($0.isLetter || $0.isNumber || "/:._-".contains($0)) }
                })
        }
        return images
    }

    /// Patterns of paths in the root disk.
    func patterns(_ key: String, _ node: Node) throws(MartletError) -> [String] {
        var patterns: [String] = []
        for entry in try list(key, node, limit: 100) {
            patterns.append(
                try checked(key, text(key, entry), "must be an absolute path of letters, digits and /._+*?-") { path in
                    path.hasPrefix("/") && path.utf8.count <= 200
                        && path.allSatisfy { $0.isASCII && ($0.isLetter || $0.isNumber || "/._+*?-".contains($0)) }
                })
        }
        return patterns
    }

    func fileRules(_ key: String, _ node: Node) throws(MartletError) -> [TemplateFileRule] {
        var rules: [TemplateFileRule] = []
        for entry in try list(key, node, limit: 500) {
            let fields = try fields(key, entry, ["path", "owner", "group", "mode"])
            guard let path = fields["path"] else { throw problem(key, "each entry must have a path") }
            var rule = TemplateFileRule(path: try absolutePath("\(key).path", path))
            if let owner = fields["owner"] { rule.owner = try userName("\(key).owner", owner) }
            if let group = fields["group"] { rule.group = try userName("\(key).group", group) }
            if let mode = fields["mode"] {
                // A text, since YAML itself would read 0644 as a number to one base or the other.
                let digits = try text("\(key).mode", mode)
                guard (3...5).contains(digits.utf8.count), let bits = UInt32(digits, radix: 8), bits <= 0o7777 else {
                    throw problem("\(key).mode", "'\(digits.prefix(40))' must be octal digits such as \"0640\"")
                }
                rule.mode = bits
            }
            guard !rules.contains(where: { $0.path == rule.path }) else {
                throw problem(key, "'\(rule.path)' is there twice")
            }
            rules.append(rule)
        }
        return rules
    }

    // MARK: Values

    private func fields(_ key: String, _ node: Node, _ known: Set<String>) throws(MartletError) -> [String: Node] {
        guard let mapping = node.mapping else { throw problem(key, "must be a mapping of keys to values") }
        var fields: [String: Node] = [:]
        for (name, value) in mapping {
            guard let name = name.scalar?.string, known.contains(name) else {
                throw problem(
                    "\(key).\(name.scalar?.string ?? "?")",
                    "unknown key; known are \(known.sorted().joined(separator: ", "))")
            }
            fields[name] = value
        }
        return fields
    }

    private func absolutePath(_ key: String, _ node: Node) throws(MartletError) -> String {
        try checked(key, text(key, node), "must be an absolute path without '..'") { path in
            path.hasPrefix("/") && !path.split(separator: "/").contains("..")
        }
    }
}
