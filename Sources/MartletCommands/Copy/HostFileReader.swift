import LinuxSystem
import NIOCore

/// A file or pipe of this machine as a sequence of pieces, read no faster than they are taken.
struct HostFileReader: AsyncSequence, Sendable {
    let descriptor: Descriptor
    let progress: ProgressLine

    struct AsyncIterator: AsyncIteratorProtocol {
        let descriptor: Descriptor
        let progress: ProgressLine

        mutating func next() async throws -> ByteBuffer? {
            let bytes = try await Blocking.run { [descriptor] in try descriptor.read(upTo: 262_144) }
            guard !bytes.isEmpty else { return nil }
            progress.add(bytes.count)
            return ByteBuffer(bytes: bytes)
        }
    }

    func makeAsyncIterator() -> AsyncIterator { AsyncIterator(descriptor: descriptor, progress: progress) }
}
