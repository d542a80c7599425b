import Glibc
import LinuxSystem
import SandboxModel

/// The layers of a machine's disk that are its own: files in its directory, on top of the base everybody shares.
struct LayerChain: Sendable {
    /// Node names, the oldest first; the last is the one the guest writes to. The file of each carries its name.
    var names: [String]
    let files: MachineFiles
    /// The top node of the base.
    let base: String

    init(files: MachineFiles, baseDisks: Int, names: [String] = [BlockNode.root]) {
        self.files = files
        self.names = names
        base = BlockNode.base(baseDisks - 1)
    }

    var active: String { names.last ?? BlockNode.root }

    /// A new name for a layer.
    static func newName() -> String { RandomID.make(prefix: "l", length: 12) }

    /// The name of a layer's file.
    static func fileName(_ name: String) -> String { "\(name == BlockNode.root ? "disk" : name).qcow2" }

    func path(_ name: String) -> String { files.path(LayerChain.fileName(name)) }

    /// The same as the process sees it.
    func inside(_ name: String) -> String { files.inside(LayerChain.fileName(name)) }

    /// Makes the files of all layers but the active one appear in another directory as well, as `layer-N.qcow2`. Nobody
    /// writes to them any more: QEMU has opened them anew for reading.
    ///
    /// - Returns: their paths there, the oldest first.
    func linkFrozen(into target: String) throws(SystemError) -> [String] {
        var paths: [String] = []
        for (index, name) in names.dropLast().enumerated() {
            try files.takeBack(LayerChain.fileName(name))
            let path = "\(target)/layer-\(index).qcow2"
            guard link(self.path(name), path) == 0 else { throw SystemError("link", path, errno: errno) }
            paths.append(path)
        }
        return paths
    }

    /// How many layers from the top are worth merging into the active one; 0 when it is not worth it.
    ///
    /// Goes down for as long as the next layer is no more than twice what lies above it, so that a byte is copied
    /// again only when there are twice as many of them: depth and copying both grow with the logarithm.
    static func mergeable(sizes: [UInt64], threshold: Int) -> Int {
        guard sizes.count >= threshold else { return 0 }
        var sum: UInt64 = 0
        var count = 0
        for size in sizes.reversed() {
            if count >= threshold / 2, size > 2 * sum { break }
            sum += size
            count += 1
        }
        return count
    }

    /// Bytes the frozen layers take, the oldest first.
    func frozenSizes() -> [UInt64] {
        names.dropLast().map { name in
            var info = stat()
            return stat(path(name), &info) == 0 ? UInt64(info.st_blocks) * 512 : 0
        }
    }
}
