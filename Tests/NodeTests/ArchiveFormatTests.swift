import Foundation
import ImageStore
import SandboxEngine
import SandboxModel
import Testing

@testable import Node

/// A layer's name says how it is to be read; an export whose engine reads in another way is refused, for a raw file that is
/// read as a qcow2 one could name other files of the host.
@Suite(.serialized, .requiresTemplate, .timeLimit(.minutes(5))) struct ArchiveFormatTests {
    @Test func `layers of another format than the engine's are no export`() async throws {
        try await NodeFixture.with { fixture in
            let (id, snapshot) = (SandboxID.random(), SnapshotID.random())
            _ = try await fixture.node.create(SandboxSpec(id: id, template: "base", hostname: "one"))
            _ = try await fixture.node.snapshot(id, as: SnapshotSpec(id: snapshot))
            let capture = try #require(await fixture.node.entries[snapshot]?.capture)
            #expect(capture.manifest.layerNames == ["layer-0.qcow2"])
            let tree = "\(fixture.directory)/tree"
            let base = "\(fixture.directory)/bases/\(capture.image.digest)"
            let contents = try ArchiveContents.layOut(capture, base: base, in: tree)
            // The page file is laid out anew, and links are none of an unpacked tree.
            try ArchiveFormatTests.unlinkAll(in: tree)
            _ = try contents.check(["qemu": .layers])
            #expect(throws: MartletError.self) { try contents.check(["qemu": .whole]) }

            // The same with the layer under the other name, sealed and whole.
            let path = "\(tree)/snapshot/\(SnapshotManifest.fileName)"
            var manifest = try SnapshotManifest.unseal(path)
            manifest.files["layer-0.raw"] = manifest.files.removeValue(forKey: "layer-0.qcow2")
            #expect(manifest.layerNames == ["layer-0.raw"])
            #expect(manifest.image(in: "/d", base: capture.image).layers == ["/d/layer-0.raw"])
            try FileManager.default.removeItem(atPath: path)
            try manifest.seal(to: path)
            try FileManager.default.moveItem(
                atPath: "\(tree)/snapshot/layer-0.qcow2", toPath: "\(tree)/snapshot/layer-0.raw")
            let error = #expect(throws: MartletError.self) { try contents.check(["qemu": .layers]) }
            #expect(error?.code == .invalidArgument, "\(String(describing: error))")
            #expect(throws: MartletError.self) { try contents.check([:]) }
            _ = try contents.check(["qemu": .whole])
        }
    }

    /// Makes every file of a tree one of its own.
    private static func unlinkAll(in tree: String) throws {
        for folder in ["\(tree)/snapshot", "\(tree)/base"] {
            for name in try FileManager.default.contentsOfDirectory(atPath: folder) {
                let (path, copy) = ("\(folder)/\(name)", "\(folder)/\(name).copy")
                try StoreFiles.copySparse(path, copy, flushes: false)
                try FileManager.default.removeItem(atPath: path)
                try FileManager.default.moveItem(atPath: copy, toPath: path)
            }
        }
    }
}
