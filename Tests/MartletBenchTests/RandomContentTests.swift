import Crypto
import NIOCore
import Testing

@testable import MartletBench

@Suite struct RandomContentTests {
    @Test(arguments: [0, 1, 7, 8, 1000, 262_143, 262_144, 262_145, 3 << 20])
    func itHasItsSizeAndItsDigestHoweverItIsRead(size: Int) async throws {
        let content = RandomContent(size: size)
        for _ in 0..<2 {
            var (hash, count) = (SHA256(), 0)
            for try await piece in content {
                count += piece.readableBytes
                hash.update(piece)
            }
            #expect(count == size)
            #expect(try await content.digest() == hash.finalize())
        }
    }

    @Test func noTwoPiecesAreAlikeAndNoTwoContentsEither() async throws {
        let content = RandomContent(size: 1 << 20)
        #expect(Set((0..<content.pieces).map { Array(content.piece($0).readableBytesView) }).count == 4)
        let (one, other) = (try await content.digest(), try await RandomContent(size: 1 << 20).digest())
        #expect(one != other)
    }
}
