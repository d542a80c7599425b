import GuestProtocol

/// The memory all replay buffers share: bounded, whatever the programs write.
final class ReplayBudget {
    private(set) var left: Int
    /// Called when a buffer wants more than is left; may free the buffers of ended processes.
    var reclaim: () -> Void = {}

    init(bytes: Int) { left = bytes }

    /// Whether so many bytes can be taken, now that ended processes have made room for them if they could.
    func has(_ bytes: Int) -> Bool {
        if bytes > left { reclaim() }
        return bytes <= left
    }

    func take(_ bytes: Int) { left -= bytes }

    func giveBack(_ bytes: Int) { left += bytes }
}

/// The last bytes of a process's output, with the channel each came on and its offset in the whole.
///
/// A ring that grows from nothing to its limit as it is needed.
final class ReplayBuffer {
    /// What every buffer may have even when the budget is spent.
    static let smallest = 4096

    private struct Segment {
        var start: UInt64
        var channel: OutputChannel
    }

    private let limit: Int
    private let budget: ReplayBudget
    private var ring: [UInt8] = []
    /// Runs of one channel, oldest first, from `firstSegment` on.
    private var segments: [Segment] = []
    private var firstSegment = 0
    /// The oldest byte still held.
    private(set) var firstOffset: UInt64 = 0
    /// All bytes ever appended.
    private(set) var endOffset: UInt64 = 0

    init(limit: Int, budget: ReplayBudget) {
        self.limit = max(limit, ReplayBuffer.smallest)
        self.budget = budget
    }

    deinit { release() }

    /// A program that changes channel with every byte would make more segments than bytes are worth.
    private var mostSegments: Int { max(64, limit / 16) }
    private var held: Int { Int(endOffset - firstOffset) }

    /// Bytes that can come in before a reader at `offset` would lose some.
    func room(before offset: UInt64) -> Int {
        guard segments.count - segmentIndex(of: offset) < mostSegments - 1 else { return 0 }
        let size = budget.has(limit - ring.count) ? limit : max(ring.count, ReplayBuffer.smallest)
        return size - Int(endOffset - max(offset, firstOffset))
    }

    private func grow(for incoming: Int) {
        guard held + incoming > ring.count, ring.count < limit else { return }
        var size = max(ring.count, ReplayBuffer.smallest)
        while size < held + incoming, size < limit { size *= 2 }
        size = min(size, limit)
        while size > ReplayBuffer.smallest, !budget.has(size - ring.count) { size /= 2 }
        guard size > ring.count else { return }
        budget.take(size - ring.count)
        var larger = [UInt8](repeating: 0, count: size)
        for part in parts(from: firstOffset, count: held) {
            larger.withUnsafeMutableBytes { target in
                ring.withUnsafeBytes { source in
                    copy(source[part.range], at: part.offset, to: target)
                }
            }
        }
        ring = larger
    }

    private func copy(
        _ source: Slice<UnsafeRawBufferPointer>, at offset: UInt64, to target: UnsafeMutableRawBufferPointer
    ) {
        var done = 0
        while done < source.count {
            let position = Int((offset + UInt64(done)) % UInt64(target.count))
            let count = min(source.count - done, target.count - position)
            let start = source.startIndex + done
            target[position..<position + count].copyBytes(from: source[start..<start + count])
            done += count
        }
    }

    /// The one or two stretches of the ring that hold `count` bytes from `offset` on.
    private func parts(from offset: UInt64, count: Int) -> [(offset: UInt64, range: Range<Int>)] {
        guard count > 0 else { return [] }
        let size = ring.count
        let start = Int(offset % UInt64(size))
        let first = min(count, size - start)
        var parts = [(offset: offset, range: start..<start + first)]
        if first < count { parts.append((offset + UInt64(first), 0..<count - first)) }
        return parts
    }

    /// Adds output; the oldest bytes make room. More than the ring holds keeps only the last of it.
    func append(_ bytes: UnsafeRawBufferPointer, channel: OutputChannel) {
        guard !bytes.isEmpty else { return }
        grow(for: bytes.count)
        if segments.last?.channel != channel || firstSegment == segments.count {
            segments.append(Segment(start: endOffset, channel: channel))
        }
        let skipped = max(0, bytes.count - ring.count)
        ring.withUnsafeMutableBytes { target in
            copy(bytes[skipped...], at: endOffset + UInt64(skipped), to: target)
        }
        endOffset += UInt64(bytes.count)
        if held > ring.count { firstOffset = endOffset - UInt64(ring.count) }
        dropOldSegments()
    }

    private func dropOldSegments() {
        while segments.count - firstSegment > mostSegments {
            firstOffset = max(firstOffset, nextStart(after: firstSegment))
            firstSegment += 1
        }
        while firstSegment + 1 < segments.count, segments[firstSegment + 1].start <= firstOffset { firstSegment += 1 }
        if firstSegment > 1024 {
            segments.removeSubrange(0..<firstSegment)
            firstSegment = 0
        }
    }

    private func nextStart(after index: Int) -> UInt64 {
        index + 1 < segments.count ? segments[index + 1].start : endOffset
    }

    /// The channel and length (up to `limit`) of the bytes of one channel that start at `offset`.
    func run(at offset: UInt64, limit: Int) -> (channel: OutputChannel, count: Int)? {
        guard offset >= firstOffset, offset < endOffset, limit > 0 else { return nil }
        let index = segmentIndex(of: offset)
        return (segments[index].channel, min(limit, Int(nextStart(after: index) - offset)))
    }

    /// The segment that holds `offset`, or the nearest one where none does.
    private func segmentIndex(of offset: UInt64) -> Int {
        var low = firstSegment
        var high = segments.count - 1
        while low < high {
            let middle = (low + high + 1) / 2
            if segments[middle].start <= offset { low = middle } else { high = middle - 1 }
        }
        return low
    }

    /// Appends `count` bytes from `offset` on to `output`.
    func copyBytes(from offset: UInt64, count: Int, into output: inout [UInt8]) {
        for part in parts(from: offset, count: count) { output.append(contentsOf: ring[part.range]) }
    }

    /// Drops everything held and gives the memory back; offsets go on counting.
    func release() {
        budget.giveBack(ring.count)
        ring = []
        firstOffset = endOffset
        segments = []
        firstSegment = 0
    }
}
