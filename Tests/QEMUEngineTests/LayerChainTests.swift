import Foundation
import SandboxModel
import Testing

@testable import QEMUEngine

@Suite struct LayerChainTests {
    private static let threshold = 8

    @Test func `few layers are left alone, and many are never all kept`() {
        #expect(LayerChain.mergeable(sizes: [], threshold: LayerChainTests.threshold) == 0)
        #expect(
            LayerChain.mergeable(sizes: [UInt64](repeating: 5, count: 7), threshold: LayerChainTests.threshold) == 0)
        #expect(
            LayerChain.mergeable(sizes: [UInt64](repeating: 5, count: 8), threshold: LayerChainTests.threshold) == 8)
        #expect(
            LayerChain.mergeable(sizes: [UInt64](repeating: 0, count: 8), threshold: LayerChainTests.threshold) == 8)
    }

    @Test func `a thick layer is not copied for the sake of thin ones above it`() {
        let sizes: [UInt64] = [9000, 5, 5, 5, 5, 5, 5, 5]
        #expect(LayerChain.mergeable(sizes: sizes, threshold: LayerChainTests.threshold) == 7)
        // Unless it is one of the few that go in any case: else depth could not be bounded.
        let top: [UInt64] = [5, 5, 5, 5, 5, 5, 9000, 5]
        #expect(LayerChain.mergeable(sizes: top, threshold: LayerChainTests.threshold) == 8)
    }

    /// Ten thousand captures of whatever size: the depth stays small, and what was copied is a few times what was
    /// written.
    @Test(arguments: [1, 2, 3, 4]) func `depth and copying stay bounded over many generations`(seed: UInt64) {
        var state = seed
        func random(_ limit: UInt64) -> UInt64 {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return (state >> 33) % limit
        }
        var sizes: [UInt64] = []
        var (written, copied): (UInt64, UInt64) = (0, 0)
        var deepest = 0
        var active: UInt64 = 0
        for _ in 0..<10_000 {
            let fresh = 1 + random(seed == 1 ? 1 : seed == 2 ? 1000 : 20) * (random(50) == 0 ? 100 : 1)
            written += fresh
            // The active layer is frozen, and another is put on top of it.
            sizes.append(active + fresh)
            active = 0
            let count = LayerChain.mergeable(sizes: sizes, threshold: LayerChainTests.threshold)
            #expect((0...sizes.count).contains(count))
            if count > 0 {
                active = sizes.suffix(count).reduce(0, +)
                copied += active
                sizes.removeLast(count)
            }
            deepest = max(deepest, sizes.count)
        }
        #expect(deepest <= 24, "\(deepest) layers")
        #expect(copied <= written * 16, "\(copied) copied for \(written) written")
    }

    @Test func `all layers but the active one appear elsewhere, the oldest first`() throws {
        let directory = NSTemporaryDirectory() + "martlet-chain-\(UUID().uuidString.prefix(8))"
        defer { try? FileManager.default.removeItem(atPath: directory) }
        let target = "\(directory)/target"
        try FileManager.default.createDirectory(atPath: target, withIntermediateDirectories: true)
        var chain = LayerChain(files: MachineFiles(directory: directory, owner: nil), baseDisks: 2)
        #expect(chain.base == "base-1")
        #expect(chain.active == BlockNode.root)
        chain.names = ["lower", BlockNode.root, "upper"]
        for name in chain.names { try Data(name.utf8).write(to: URL(fileURLWithPath: chain.path(name))) }
        let paths = try chain.linkFrozen(into: target)
        #expect(paths == ["\(target)/layer-0.qcow2", "\(target)/layer-1.qcow2"])
        #expect(try paths.map { try String(contentsOfFile: $0, encoding: .utf8) } == ["lower", BlockNode.root])
        #expect(chain.frozenSizes().count == 2)
    }
}
