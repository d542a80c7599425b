import Crypto
import NIOCore

/// A file's worth of bytes that no layer can make smaller, the same every time it is read, without holding all of it.
struct RandomContent: AsyncSequence, Sendable {
    let size: Int
    private let block: [UInt8]
    private static let pieceSize = 256 << 10

    init(size: Int) {
        self.size = size
        var generator = SystemRandomNumberGenerator()
        var block: [UInt8] = []
        block.reserveCapacity(Self.pieceSize)
        while block.count < Self.pieceSize {
            withUnsafeBytes(of: generator.next() as UInt64) { block.append(contentsOf: $0) }
        }
        self.block = block
    }

    /// A part of it that is enough to have every layer's code in memory, and translated, before it is measured.
    var start: RandomContent { RandomContent(size: Swift.min(size, 16 << 20)) }

    var pieces: Int { (size + Self.pieceSize - 1) / Self.pieceSize }

    /// One piece; its number is written into it, so that no two are alike.
    func piece(_ index: Int) -> ByteBuffer {
        let length = Swift.min(Self.pieceSize, size - index * Self.pieceSize)
        var buffer = ByteBuffer(bytes: block.prefix(length))
        if length >= 8 { buffer.setInteger(UInt64(index), at: buffer.readerIndex) }
        return buffer
    }

    /// SHA-256 over all of it. Takes its time: off the threads of async code.
    func digest() async throws -> SHA256.Digest {
        try await Blocking.run {
            var hash = SHA256()
            for index in 0..<pieces { hash.update(piece(index)) }
            return hash.finalize()
        }
    }

    struct AsyncIterator: AsyncIteratorProtocol {
        let content: RandomContent
        var index = 0

        mutating func next() async throws -> ByteBuffer? {
            guard index < content.pieces else { return nil }
            defer { index += 1 }
            return content.piece(index)
        }
    }

    func makeAsyncIterator() -> AsyncIterator { AsyncIterator(content: self) }
}

extension SHA256 {
    /// Takes in what a buffer holds.
    mutating func update(_ buffer: ByteBuffer) {
        buffer.withUnsafeReadableBytes { update(bufferPointer: $0) }
    }
}
