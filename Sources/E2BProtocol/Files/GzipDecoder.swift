import CInflate

/// Decompresses a body in gzip (RFC 1952) as it comes, members one after another. What comes out is handed on piece by
/// piece, so that a small body that grows without end fills nobody's memory.
package final class GzipDecoder {
    /// A body that is no gzip, or not all of one.
    package struct Malformed: Error, Equatable {
        package let reason: String
    }

    /// The most bytes of one piece.
    package static let pieceLength = 65_536

    private let state: OpaquePointer
    private var pending: [UInt8] = []
    private var position = 0
    private var isInsideMember = false
    private var hasMember = false

    /// - Throws: `Malformed` when there is no memory for it.
    package init() throws(Malformed) {
        guard let state = cinflate_create() else { throw Malformed(reason: "there is no memory to decompress it") }
        self.state = state
    }

    deinit { cinflate_destroy(state) }

    /// Takes more of the compressed body; all of what came before must have been taken with `next`.
    package func append(_ bytes: some Sequence<UInt8>) {
        pending = Array(bytes)
        position = 0
    }

    /// The next piece of what was compressed; nil when more of the body is needed.
    package func next() throws(Malformed) -> [UInt8]? {
        while true {
            guard position < pending.count || isInsideMember else { return nil }
            if !isInsideMember {
                guard !hasMember || cinflate_reset(state) == 0 else { throw Malformed(reason: "is no gzip") }
                isInsideMember = true
                hasMember = true
            }
            var (taken, written, result) = (0, 0, Int32(0))
            let piece = [UInt8](unsafeUninitializedCapacity: GzipDecoder.pieceLength) { output, count in
                pending.withUnsafeBufferPointer { input in
                    result = cinflate_run(
                        state, input.baseAddress.map { $0 + position }, input.count - position, &taken,
                        output.baseAddress, output.count, &written)
                }
                count = written
            }
            position += taken
            guard result >= 0 else { throw Malformed(reason: "is no gzip") }
            if result == 1 { isInsideMember = false }
            if !piece.isEmpty { return piece }
            if result == 0, taken == 0 { return nil }
        }
    }

    /// Whether the body may end here.
    package var isComplete: Bool { hasMember && !isInsideMember && position == pending.count }
}
