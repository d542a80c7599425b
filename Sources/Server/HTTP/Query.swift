import SandboxModel

/// A request's query, decoded as forms are (`+` is a space) and checked: every name known, none twice, all UTF-8.
struct Query: Sendable {
    private var values: [String: String] = [:]

    init(_ text: String?, names: [String], prefixes: [String] = []) throws(MartletError) {
        for pair in (text ?? "").utf8.split(separator: UInt8(ascii: "&")) {
            let parts = pair.split(separator: UInt8(ascii: "="), maxSplits: 1, omittingEmptySubsequences: false)
            guard let name = Query.decoded(parts[0]) else { throw .invalid("query", "holds a name that is not UTF-8") }
            guard names.contains(name) || prefixes.contains(where: { name.hasPrefix($0) && name != $0 }) else {
                throw .invalid(String(name.prefix(64)), "is no query parameter of this route")
            }
            guard let value = parts.count == 2 ? Query.decoded(parts[1]) : "" else {
                throw .invalid(name, "is not UTF-8, percent-encoded")
            }
            guard values.updateValue(value, forKey: name) == nil else { throw .invalid(name, "is given twice") }
        }
    }

    subscript(name: String) -> String? { values[name] }

    /// A value that must be there.
    func required(_ name: String) throws(MartletError) -> String {
        guard let value = values[name] else { throw .invalid(name, "is missing from the query") }
        return value
    }

    /// A whole number, or `standard` if absent.
    func number<Number: FixedWidthInteger>(_ name: String, _ standard: Number) throws(MartletError) -> Number {
        try number(name) ?? standard
    }

    /// A whole number, if there.
    func number<Number: FixedWidthInteger>(_ name: String) throws(MartletError) -> Number? {
        guard let text = values[name] else { return nil }
        guard let number = Number(text), number >= 0 else { throw .invalid(name, "is not a whole number from 0 up") }
        return number
    }

    /// A yes or no.
    func flag(_ name: String, _ standard: Bool = false) throws(MartletError) -> Bool {
        switch values[name] {
        case nil: standard
        case "true", "1", "": true
        case "false", "0": false
        default: throw .invalid(name, "must be true or false")
        }
    }

    /// The values whose names begin with a prefix, by the rest of their names.
    func values(under prefix: String) -> [String: String] {
        values.reduce(into: [:]) { found, value in
            if value.key.hasPrefix(prefix) { found[String(value.key.dropFirst(prefix.count))] = value.value }
        }
    }

    /// Form-decoded; nil for what is not UTF-8, percent-encoded.
    static func decoded(_ text: Substring.UTF8View) -> String? {
        var bytes: [UInt8] = []
        var index = text.startIndex
        while index < text.endIndex {
            let byte = text[index]
            index = text.index(after: index)
            switch byte {
            case UInt8(ascii: "+"): bytes.append(UInt8(ascii: " "))
            case UInt8(ascii: "%"):
                guard let end = text.index(index, offsetBy: 2, limitedBy: text.endIndex),
                    let digits = String(text[index..<end]), let value = UInt8(digits, radix: 16), digits.first != "+"
                else { return nil }
                bytes.append(value)
                index = end
            default: bytes.append(byte)
            }
        }
        return String(validating: bytes, as: UTF8.self)
    }
}
