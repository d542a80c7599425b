/// Which modules a guest needs and in which order they load.
package enum KernelModules {
    /// What the guest agent needs to reach its host, its disks and its network, and to end connections a restored guest
    /// must not go on with. What a kernel has built in is skipped.
    package static let wanted = [
        "virtio_mmio", "virtio_blk", "virtio_console", "virtio_rng", "virtio_net", "ext4", "overlay", "tcp_diag",
    ]

    /// What guests need on top where their host reaches them by vsock. Kept apart from the others: no other guest has it.
    package static let wantedForVsock = ["vmw_vsock_virtio_transport"]

    /// The kernel treats `-` and `_` in names as the same.
    static func normalized(_ name: some StringProtocol) -> String {
        String(name.map { $0 == "-" ? "_" : $0 })
    }

    /// The module's name of a file such as `virtio-rng.ko.xz`; nil if it is no module.
    package static func name(ofFile file: some StringProtocol) -> String? {
        for suffix in [".ko", ".ko.xz", ".ko.zst", ".ko.gz"] where file.hasSuffix(suffix) {
            return normalized(file.dropLast(suffix.count))
        }
        return nil
    }

    /// Names from a `modules.builtin` file.
    package static func builtin(_ text: String) -> Set<String> {
        Set(text.split(separator: "\n").compactMap { $0.split(separator: "/").last.flatMap(name(ofFile:)) })
    }

    /// What a module says it depends on, from the `depends=` entry of its `.modinfo` section.
    package static func dependencies(ofModule bytes: [UInt8]) -> [String] {
        let key = Array("\0depends=".utf8)
        var start = 0
        while let found = bytes[start...].firstIndex(of: 0), found + key.count <= bytes.count {
            if bytes[found..<(found + key.count)].elementsEqual(key) {
                let value = bytes[(found + key.count)...].prefix { $0 != 0 }
                return String(decoding: value, as: UTF8.self).split(separator: ",").map { normalized($0) }
            }
            start = found + 1
        }
        return []
    }

    /// Orders modules so that each comes after those it depends on.
    ///
    /// - Parameter dependencies: of a module by name; nil if there is no such module.
    /// - Returns: the order, or the name of the first module that does not exist.
    package static func order(
        _ wanted: [String], builtin: Set<String>, dependencies: (String) throws -> [String]?
    ) rethrows -> Result<[String], MissingModule> {
        var order: [String] = []
        var seen = builtin
        // A stack instead of recursion: names still to do, and names to append once what they need is done.
        var stack = wanted.reversed().map { (name: $0, isReady: false) }
        while let (name, isReady) = stack.popLast() {
            if isReady {
                order.append(name)
                continue
            }
            guard seen.insert(name).inserted else { continue }
            guard let needed = try dependencies(name) else { return .failure(MissingModule(name: name)) }
            stack.append((name, true))
            stack += needed.reversed().map { ($0, false) }
        }
        return .success(order)
    }

    /// A module that is needed and in neither the package nor the kernel.
    package struct MissingModule: Error, Equatable {
        package var name: String
    }
}
