import LinuxSystem
import SandboxModel
import Yams

/// Reads `template.yaml` strictly: an unknown key, a bad name or an absurd size is an error naming file and key.
struct TemplateParser {
    let file: String
    let name: String

    private static let keys: Set<String> = [
        "name", "description", "suite", "packages", "kernel", "disk_mb", "cpus", "memory_mb", "env", "user", "warmup",
        "rehearsal", "aliases", "images", "exclude", "files", "services",
        "isolation",
    ]

    /// Parses the text of a template file of the template `name`.
    func parse(_ text: String) throws(MartletError) -> TemplateDefinition {
        let root: Node?
        do {
            root = try Yams.compose(yaml: text)
        } catch {
            throw problem(nil, "\(error)")
        }
        guard let root else { return TemplateDefinition(name: name) }
        guard let mapping = root.mapping else { throw problem(nil, "must be a mapping of keys to values") }
        var definition = TemplateDefinition(name: name)
        for (keyNode, value) in mapping {
            guard let key = keyNode.scalar?.string else { throw problem(nil, "keys must be plain words") }
            guard Self.keys.contains(key) else {
                throw problem(key, "unknown key; known are \(Self.keys.sorted().joined(separator: ", "))")
            }
            try apply(key, value, to: &definition)
        }
        return definition
    }

    private func apply(_ key: String, _ value: Node, to definition: inout TemplateDefinition) throws(MartletError) {
        switch key {
        case "name":
            guard try text(key, value) == name else { throw problem(key, "must be the folder's name, '\(name)'") }
        case "description":
            definition.description = try checked(key, text(key, value), "must be at most 200 characters") {
                $0.count <= 200
            }
        case "suite":
            definition.suite = try checked(key, text(key, value), "must be a release name such as bookworm") {
                (1...32).contains($0.utf8.count) && $0.utf8.allSatisfy(isLowercaseLetter)
            }
        case "packages":
            definition.packages = try list(key, value, limit: 500).mapChecked { node throws(MartletError) in
                try package(key, node)
            }
        case "exclude": definition.exclude = try patterns(key, value)
        case "kernel": definition.kernel = try package(key, value)
        case "disk_mb": definition.diskMiB = try number(key, value, 1024...65_536)
        case "cpus": definition.cpus = try number(key, value, 1...16)
        case "memory_mb":
            definition.memoryMiB = try number(key, value, 128...65_536)
            if !definition.memoryMiB.isMultiple(of: 2) { throw problem(key, "must be even") }
        case "isolation":
            let text = try text(key, value)
            do {
                definition.isolation = try IsolationChoice(parsing: text)
            } catch {
                throw problem(key, error.message)
            }
        case "env": definition.env = try environment(key, value)
        case "user":
            definition.user = try userName(key, value)
        case "aliases": definition.aliases = try aliases(key, value)
        case "images": definition.images = try images(key, value)
        case "files": definition.fileRules = try fileRules(key, value)
        case "services": definition.services = try services(key, value)
        case "rehearsal": definition.rehearsal = try commands(key, value)
        default: definition.warmup = try commands(key, value)
        }
    }

    private func commands(_ key: String, _ node: Node) throws(MartletError) -> [[String]] {
        try list(key, node, limit: 32).mapChecked { node throws(MartletError) in try command(key, node) }
    }

    func userName(_ key: String, _ node: Node) throws(MartletError) -> String {
        try checked(key, text(key, node), "must be empty or a user name such as user") {
            $0.isEmpty || isUserName($0)
        }
    }

    private func package(_ key: String, _ node: Node) throws(MartletError) -> String {
        try checked(key, text(key, node), "must be a Debian package name") { name in
            // A leading '-' or a '=' would be read as an option or a version by the package tools.
            (2...100).contains(name.utf8.count)
                && name.utf8.first.map { isLowercaseLetter($0) || isDigit($0) } == true
                && name.utf8.allSatisfy { isLowercaseLetter($0) || isDigit($0) || "+-.".utf8.contains($0) }
        }
    }

    func environment(_ key: String, _ node: Node) throws(MartletError) -> [String: String] {
        guard let mapping = node.mapping, mapping.count <= 64 else {
            throw problem(key, "must be a mapping of at most 64 names to values")
        }
        var result: [String: String] = [:]
        for (nameNode, valueNode) in mapping {
            let name = try checked(key, text(key, nameNode), "names must be of A-Z, a-z, 0-9 and _") { name in
                (1...128).contains(name.utf8.count) && name.utf8.first.map(isDigit) == false
                    && name.utf8.allSatisfy {
                        isLowercaseLetter($0 | 0x20) || isDigit($0) || $0 == UInt8(ascii: "_")
                    }
            }
            result[name] = try text("\(key).\(name)", valueNode)
        }
        return result
    }

    func command(_ key: String, _ node: Node) throws(MartletError) -> [String] {
        let words = try list(key, node, limit: 64).mapChecked { word throws(MartletError) in try text(key, word) }
        guard let program = words.first, !program.isEmpty else {
            throw problem(key, "each entry must be a list of words that starts with a program")
        }
        return words
    }

    // MARK: Values

    func text(_ key: String, _ node: Node) throws(MartletError) -> String {
        guard let scalar = node.scalar, scalar.tag != Tag(.null) else { throw problem(key, "must be a text") }
        guard scalar.string.utf8.count <= 4096, !scalar.string.utf8.contains(0) else {
            throw problem(key, "must be at most 4096 bytes without NUL")
        }
        return scalar.string
    }

    func number(_ key: String, _ node: Node, _ range: ClosedRange<Int>) throws(MartletError) -> Int {
        let text = try text(key, node)
        guard let value = Int(text) else { throw problem(key, "'\(text.prefix(40))' is not a whole number") }
        guard range.contains(value) else {
            throw problem(key, "\(value) is outside \(range.lowerBound)...\(range.upperBound)")
        }
        return value
    }

    func list(_ key: String, _ node: Node, limit: Int) throws(MartletError) -> [Node] {
        guard let sequence = node.sequence else { throw problem(key, "must be a list") }
        guard sequence.count <= limit else { throw problem(key, "must have at most \(limit) entries") }
        return Array(sequence)
    }

    func checked(
        _ key: String, _ value: String, _ rule: String, _ test: (String) -> Bool
    ) throws(MartletError) -> String {
        guard test(value) else { throw problem(key, "'\(value.prefix(80))' \(rule)") }
        return value
    }

    func problem(_ key: String?, _ why: String) -> MartletError {
        let place = key.map { "\(file): \($0)" } ?? file
        return MartletError(.failedPrecondition, "template \(name) is not usable: \(place): \(why)")
    }
}

extension Array {
    /// `map` for a closure that throws our error type; the standard one loses the type inside a typed-throws function.
    fileprivate func mapChecked<T>(_ body: (Element) throws(MartletError) -> T) throws(MartletError) -> [T] {
        var result: [T] = []
        result.reserveCapacity(count)
        for element in self { result.append(try body(element)) }
        return result
    }
}

private func isLowercaseLetter(_ byte: UInt8) -> Bool { (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte) }
private func isDigit(_ byte: UInt8) -> Bool { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) }

private func isUserName(_ name: String) -> Bool {
    (1...32).contains(name.utf8.count)
        && name.utf8.first.map { isLowercaseLetter($0) || $0 == UInt8(ascii: "_") } == true
        && name.utf8.allSatisfy { isLowercaseLetter($0) || isDigit($0) || "_-".utf8.contains($0) }
}
