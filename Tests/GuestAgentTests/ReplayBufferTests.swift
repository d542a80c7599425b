import GuestProtocol
import Testing

@testable import GuestAgent

@Suite struct ReplayBufferTests {
    @Test func holdsTheLastBytesWithTheirChannels() {
        let buffer = ReplayBuffer(limit: 4096, budget: ReplayBudget(bytes: 1 << 20))
        append(buffer, "abc", .standardOutput)
        append(buffer, "de", .standardOutput)
        append(buffer, "xyz", .standardError)
        #expect(buffer.endOffset == 8)
        #expect(buffer.run(at: 0, limit: 100).map { $0.count } == 5)
        #expect(buffer.run(at: 5, limit: 2).map { $0.count } == 2)
        #expect(buffer.run(at: 6, limit: 100)?.channel == .standardError)
        #expect(buffer.run(at: 8, limit: 100) == nil)
        var bytes: [UInt8] = []
        buffer.copyBytes(from: 3, count: 5, into: &bytes)
        #expect(bytes == Array("dexyz".utf8))
    }

    /// Against a plain array of (byte, channel) that forgets nothing, over many sizes and wraps.
    @Test(arguments: [1, 2, 3] as [UInt64])
    func agreesWithAPlainModel(_ seed: UInt64) {
        var random = SplitMix(state: seed)
        let limit = 10_000
        let buffer = ReplayBuffer(limit: limit, budget: ReplayBudget(bytes: 1 << 20))
        var model: [(UInt8, OutputChannel)] = []
        for _ in 0..<2000 {
            let channel = Bool.random(using: &random) ? OutputChannel.standardOutput : .standardError
            let count = Int.random(in: 0...(Int.random(in: 0..<20, using: &random) == 0 ? 15_000 : 300), using: &random)
            let bytes = (0..<count).map { _ in UInt8.random(in: 0...255, using: &random) }
            bytes.withUnsafeBytes { buffer.append($0, channel: channel) }
            model += bytes.map { ($0, channel) }
            #expect(buffer.endOffset == UInt64(model.count))
            #expect(model.count - Int(buffer.firstOffset) <= limit)
            var offset = max(buffer.firstOffset, UInt64(max(0, model.count - 400)))
            while let run = buffer.run(at: offset, limit: 97) {
                var found: [UInt8] = []
                buffer.copyBytes(from: offset, count: run.count, into: &found)
                let wanted = model[Int(offset)..<Int(offset) + run.count]
                if found != wanted.map(\.0) || !wanted.allSatisfy({ $0.1 == run.channel }) {
                    Issue.record("bytes differ at \(offset)")
                    return
                }
                offset += UInt64(run.count)
            }
            #expect(offset == buffer.endOffset)
        }
    }

    @Test func neverTakesMoreThanTheBudgetButAlwaysKeepsSomething() {
        let budget = ReplayBudget(bytes: 100_000)
        let buffers = (0..<20).map { _ in ReplayBuffer(limit: 65_536, budget: budget) }
        for buffer in buffers { append(buffer, String(repeating: "x", count: 65_536), .standardOutput) }
        #expect(budget.left > -(20 * ReplayBuffer.smallest))
        for buffer in buffers { #expect(buffer.endOffset - buffer.firstOffset >= UInt64(ReplayBuffer.smallest)) }
        for buffer in buffers { buffer.release() }
        #expect(budget.left == 100_000)
    }

    @Test func aChangeOfChannelWithEveryByteStaysBounded() {
        let buffer = ReplayBuffer(limit: 4096, budget: ReplayBudget(bytes: 1 << 20))
        for index in 0..<100_000 { append(buffer, "x", index % 2 == 0 ? .standardOutput : .standardError) }
        #expect(buffer.endOffset - buffer.firstOffset <= 4096)
        #expect(buffer.run(at: buffer.endOffset - 1, limit: 10)?.channel == .standardError)
        // A reader that has read nothing of it has no room, so that a lossless one loses nothing.
        #expect(buffer.room(before: buffer.firstOffset) <= 0)
        #expect(buffer.room(before: buffer.endOffset) > 0)
    }

    private func append(_ buffer: ReplayBuffer, _ text: String, _ channel: OutputChannel) {
        Array(text.utf8).withUnsafeBytes { buffer.append($0, channel: channel) }
    }
}
