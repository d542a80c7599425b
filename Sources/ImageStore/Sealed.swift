import FoundationEssentials
import LinuxSystem
import SandboxModel

/// A small JSON file that carries a checksum over itself, so that a torn or edited one is noticed.
package protocol Sealed: Codable, Sendable {
    /// Hex SHA-256 over the file's JSON with this field empty.
    var checksum: String { get set }
    /// For example `martlet-part/1`; a file of another format is not read.
    var format: String { get }
    static var currentFormat: String { get }
}

extension Sealed {
    /// Writes the value with its checksum; whole or not at all.
    package func seal(to path: String, mode: UInt32 = 0o444) throws {
        var copy = self
        copy.checksum = ""
        copy.checksum = Digest.hex(of: try Self.encode(copy))
        try AtomicFile.write(try Self.encode(copy), to: path, mode: mode)
    }

    /// Reads a sealed file.
    ///
    /// - Throws: a text that says what is wrong with it; `SystemError` where it cannot be read.
    package static func unseal(_ path: String) throws -> Self {
        let bytes = try AtomicFile.read(path, limit: 4 << 20)
        let value: Self
        do {
            value = try JSONDecoder().decode(Self.self, from: Data(bytes))
        } catch {
            throw CorruptFile(path: path, why: "it is not the JSON it should be")
        }
        guard value.format == currentFormat else {
            throw CorruptFile(path: path, why: "its format is '\(value.format.prefix(40))', not '\(currentFormat)'")
        }
        var copy = value
        copy.checksum = ""
        guard Digest.hex(of: try encode(copy)) == value.checksum else {
            throw CorruptFile(path: path, why: "its checksum does not match")
        }
        return value
    }

    private static func encode(_ value: Self) throws -> [UInt8] {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .prettyPrinted, .withoutEscapingSlashes]
        return Array(try encoder.encode(value))
    }
}

/// A file of the store that is not what was written there.
package struct CorruptFile: Error, Sendable, Equatable, CustomStringConvertible {
    package var path: String
    package var why: String

    package init(path: String, why: String) {
        self.path = path
        self.why = why
    }

    package var description: String { "\(path.split(separator: "/").last ?? ""): \(why)" }
}
