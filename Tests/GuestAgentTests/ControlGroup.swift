import Foundation
import Glibc
import Testing

/// A version 2 control group of a test's own, with what agents make in it.
struct ControlGroup {
    let path: String

    /// Runs `body` with a group; whatever is in it is killed and it is removed at the end.
    static func with(_ body: (ControlGroup) async throws -> Void) async throws {
        let root = try #require(Privilege.controlGroupRoot)
        let group = ControlGroup(path: root + "/martlet-test-\(UUID().uuidString)")
        try #require(mkdir(group.path, 0o755) == 0)
        do {
            try await body(group)
        } catch {
            try? await group.remove()
            throw error
        }
        try await group.remove()
    }

    /// The groups of single processes.
    var groups: [String] {
        let names = (try? FileManager.default.contentsOfDirectory(atPath: path)) ?? []
        return names.filter { $0.hasPrefix("p") && Int($0.dropFirst()) != nil }
    }

    var members: [Int32] {
        groups.flatMap { name in
            let text = (try? String(contentsOfFile: "\(path)/\(name)/cgroup.procs", encoding: .utf8)) ?? ""
            return text.split(separator: "\n").compactMap { Int32($0) }
        }
    }

    var isFrozen: Bool {
        let text = (try? String(contentsOfFile: path + "/cgroup.events", encoding: .utf8)) ?? ""
        return text.contains("frozen 1")
    }

    func isEmptied() async throws -> Bool {
        for _ in 0..<1000 {
            if members.isEmpty { return true }
            try await Task.sleep(for: .milliseconds(5))
        }
        return false
    }

    private func remove() async throws {
        #expect(try await isEmptied())
        for name in groups { rmdir(path + "/" + name) }
        rmdir(path)
    }
}
