import Crypto
import Glibc
import LinuxSystem

/// SHA-256 in the forms the store needs.
package enum Digest {
    /// Hex digest of a list of texts, each with its length, so that no two lists look alike.
    package static func hex(of texts: [String]) -> String {
        var hash = SHA256()
        for text in texts {
            hash.update(data: Array("\(text.utf8.count):".utf8))
            hash.update(data: Array(text.utf8))
        }
        return hex(hash.finalize())
    }

    /// Hex digest of bytes.
    static func hex(of bytes: [UInt8]) -> String { hex(SHA256.hash(data: bytes)) }

    /// Hex digest of a whole file.
    static func hex(ofFile path: String) throws(SystemError) -> String {
        let file = try Descriptor.open(path, O_RDONLY)
        var hash = SHA256()
        while true {
            let piece = try file.read(upTo: 1 << 20)
            if piece.isEmpty { return hex(hash.finalize()) }
            hash.update(data: piece)
        }
    }

    /// Hex digest of a large sparse file: pieces of zeros count as nothing, whether they are stored or holes.
    ///
    /// Reads only what is stored, so that 4 GiB with 300 MiB of data costs 300 MiB.
    package static func hex(ofSparseFile path: String) throws(SystemError) -> String {
        let piece = 1 << 20
        let file = try Descriptor.open(path, O_RDONLY)
        let size = lseek(file.number, 0, SEEK_END)
        var hash = SHA256()
        hash.update(data: Array("\(size);".utf8))
        let zeros = [UInt8](repeating: 0, count: piece)
        var offset = 0
        while offset < size {
            let data = lseek(file.number, offset, SparseFile.seekData)
            if data < 0 { break }
            offset = data / piece * piece
            lseek(file.number, offset, SEEK_SET)
            var bytes: [UInt8] = []
            while bytes.count < piece {
                let more = try file.read(upTo: piece - bytes.count)
                if more.isEmpty { break }
                bytes.append(contentsOf: more)
            }
            if memcmp(bytes, zeros, bytes.count) != 0 {
                hash.update(data: Array("\(offset):\(bytes.count);".utf8))
                hash.update(data: bytes)
            }
            offset += piece
        }
        return hex(hash.finalize())
    }

    private static func hex(_ digest: SHA256.Digest) -> String {
        let digits = Array("0123456789abcdef".utf8)
        return String(decoding: digest.flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] }, as: UTF8.self)
    }
}
