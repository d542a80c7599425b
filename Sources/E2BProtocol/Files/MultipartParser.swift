/// Cuts a `multipart/form-data` body (RFC 7578) into its parts, however the network has cut it. Holds at most one line of
/// a part's head, or the few bytes that may begin a boundary.
package struct MultipartParser: Sendable {
    /// What was found, in order.
    package enum Element: Sendable, Equatable {
        /// A part begins.
        case part(name: String, filename: String?)
        /// Some of the part's content.
        case data(ArraySlice<UInt8>)
        /// The part is whole.
        case partEnd
    }

    /// A body that is none.
    package struct Malformed: Error, Equatable {
        package var reason: String
    }

    private enum State: Sendable { case preamble, head, content, end }

    private static let maxHead = 16 << 10
    private static let maxParts = 4096

    /// `CR LF -- boundary`; the first boundary's CR LF is put before the body.
    private let delimiter: [UInt8]
    private var buffer: [UInt8] = [13, 10]
    private var state = State.preamble
    private var parts = 0

    /// - Parameter contentType: the request's header, which names the boundary.
    package init(contentType: String) throws(Malformed) {
        let fields = HeaderParameters(contentType)
        guard fields.value == "multipart/form-data", let boundary = fields["boundary"],
            (1...70).contains(boundary.utf8.count)
        else { throw Malformed(reason: "it is no multipart/form-data with a boundary") }
        delimiter = [13, 10, 45, 45] + Array(boundary.utf8)
    }

    /// Whether the last boundary was seen.
    package var isComplete: Bool { if case .end = state { true } else { false } }

    /// Takes more of the body; tells what it holds.
    package mutating func append(_ bytes: some Collection<UInt8>) throws(Malformed) -> [Element] {
        buffer.append(contentsOf: bytes)
        var found: [Element] = []
        while try step(&found) {}
        return found
    }

    /// One step; false when more bytes are needed.
    private mutating func step(_ found: inout [Element]) throws(Malformed) -> Bool {
        switch state {
        case .end:
            buffer = []
            return false
        case .preamble:
            switch nextBoundary() {
            case .unclear(let safe):
                buffer.removeFirst(safe)
                return false
            case .at(let place, let isLast): try pass(place, isLast: isLast)
            }
            return true
        case .head:
            guard let place = position(of: [13, 10, 13, 10]) else {
                guard buffer.count <= MultipartParser.maxHead else {
                    throw Malformed(reason: "a part's head is too long")
                }
                return false
            }
            let (name, filename) = try MultipartParser.disposition(buffer[..<place])
            buffer.removeFirst(place + 4)
            found.append(.part(name: name, filename: filename))
            state = .content
            return true
        case .content: return try content(&found)
        }
    }

    private mutating func content(_ found: inout [Element]) throws(Malformed) -> Bool {
        switch nextBoundary() {
        case .unclear(let safe):
            guard safe > 0 else { return false }
            found.append(.data(buffer[..<safe]))
            buffer = Array(buffer[safe...])
            return false
        case .at(let place, let isLast):
            if place > 0 { found.append(.data(buffer[..<place])) }
            found.append(.partEnd)
            try pass(place, isLast: isLast)
            return true
        }
    }

    private enum Boundary {
        case at(Int, isLast: Bool)
        /// None is whole yet; so many bytes belong to none.
        case unclear(safe: Int)
    }

    /// The first boundary: what begins like one and goes on otherwise is content.
    private func nextBoundary() -> Boundary {
        var start = 0
        while let place = position(of: delimiter, from: start) {
            let after = place + delimiter.count
            guard buffer.count >= after + 2 else { return .unclear(safe: place) }
            switch (buffer[after], buffer[after + 1]) {
            case (45, 45): return .at(place, isLast: true)
            case (13, 10): return .at(place, isLast: false)
            default: start = place + 1
            }
        }
        return .unclear(safe: max(0, buffer.count - (delimiter.count - 1)))
    }

    /// Goes on after a boundary: with the next part's head, or not at all.
    private mutating func pass(_ place: Int, isLast: Bool) throws(Malformed) {
        buffer.removeFirst(place + delimiter.count + 2)
        state = isLast ? .end : .head
        guard !isLast else { return }
        parts += 1
        guard parts <= MultipartParser.maxParts else { throw Malformed(reason: "it has too many parts") }
    }

    private static func disposition(_ head: ArraySlice<UInt8>) throws(Malformed) -> (String, String?) {
        guard let text = String(validating: head, as: UTF8.self) else {
            throw Malformed(reason: "a part's head is not UTF-8")
        }
        for line in text.split(separator: "\r\n") {
            let parts = line.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
            guard parts.count == 2, parts[0].lowercased() == "content-disposition" else { continue }
            let fields = HeaderParameters(String(parts[1]))
            guard fields.value == "form-data", let name = fields["name"] else { break }
            return (name, fields["filename"])
        }
        throw Malformed(reason: "a part has no name")
    }

    /// Where a pattern first stands at or after `start`.
    private func position(of pattern: [UInt8], from start: Int = 0) -> Int? {
        guard buffer.count >= pattern.count else { return nil }
        return buffer.withUnsafeBufferPointer { bytes in
            pattern.withUnsafeBufferPointer { pattern in
                let last = bytes.count - pattern.count
                var place = start
                while place <= last {
                    if bytes[place] == pattern[0] {
                        var length = 1
                        while length < pattern.count, bytes[place + length] == pattern[length] { length += 1 }
                        if length == pattern.count { return place }
                    }
                    place += 1
                }
                return nil
            }
        }
    }
}

/// A header's value with its parameters, `value; name=token; name="quoted \" text"` (RFC 9110, 5.6.6).
package struct HeaderParameters: Sendable {
    /// Lower-case.
    package let value: String
    private var parameters: [String: String] = [:]

    package init(_ text: String) {
        var rest = Substring(text).drop { $0 == " " }
        let head = rest.prefix { $0 != ";" }
        value = HeaderParameters.trimmed(head).lowercased()
        rest = rest.dropFirst(head.count)
        while rest.first == ";" {
            rest = rest.dropFirst().drop { $0 == " " }
            let name = rest.prefix { $0 != "=" && $0 != ";" }
            rest = rest.dropFirst(name.count)
            guard rest.first == "=" else { continue }
            rest = rest.dropFirst()
            let content: String
            if rest.first == "\"" {
                (content, rest) = HeaderParameters.quoted(rest.dropFirst())
            } else {
                let token = rest.prefix { $0 != ";" }
                content = HeaderParameters.trimmed(token)
                rest = rest.dropFirst(token.count)
            }
            let key = HeaderParameters.trimmed(name).lowercased()
            if parameters[key] == nil { parameters[key] = content }
        }
    }

    /// A parameter, by its name in lower case.
    package subscript(name: String) -> String? { parameters[name] }

    private static func quoted(_ text: Substring) -> (String, Substring) {
        var content = ""
        var rest = text
        while let character = rest.popFirst(), character != "\"" {
            if character == "\\", let escaped = rest.popFirst() {
                content.append(escaped)
            } else {
                content.append(character)
            }
        }
        return (content, rest.drop { $0 != ";" })
    }

    private static func trimmed(_ text: Substring) -> String {
        var text = text.drop { $0 == " " || $0 == "\t" }
        while let last = text.last, last == " " || last == "\t" { text.removeLast() }
        return String(text)
    }
}
