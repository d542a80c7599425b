import ControlStore
import MartletAPI
import SandboxModel

/// How sandboxes and snapshots descend from each other.
///
/// A sandbox hangs on the snapshot it was made from, or else on the sandbox it is a fork of. A snapshot hangs on the one
/// its sandbox took before, or else on its sandbox; where that is gone, on the snapshot its sandbox came from.
struct LineageTree {
    private var nodes: [String: TreeResource.Node] = [:]

    init(sandboxes: [SandboxRecord], snapshots: [SnapshotRecord]) {
        let sandboxIDs = Set(sandboxes.map(\.id.rawValue))
        let owners = Dictionary(
            snapshots.map { ($0.id.rawValue, $0.sandbox.rawValue) }, uniquingKeysWith: { first, _ in first })
        for sandbox in sandboxes {
            let parents = [sandbox.fromSnapshot.flatMap { owners[$0] == nil ? nil : $0 }, sandbox.parent]
            nodes[sandbox.id.rawValue] = TreeResource.Node(
                id: sandbox.id.rawValue, kind: .sandbox, name: sandbox.name, number: nil, sandbox: nil,
                parent: parents.compactMap { $0 }.first { owners[$0] != nil || sandboxIDs.contains($0) },
                state: sandbox.state.rawValue, at: sandbox.createdAt, isCurrent: false)
        }
        for snapshot in snapshots {
            let (sandbox, before) = (snapshot.sandbox.rawValue, snapshot.parent?.rawValue)
            let isOwn = before.map { owners[$0] == sandbox } ?? false
            let parents = isOwn ? [before, sandbox] : [sandbox, before]
            nodes[snapshot.id.rawValue] = TreeResource.Node(
                id: snapshot.id.rawValue, kind: snapshot.kind == .checkpoint ? .checkpoint : .snapshot,
                name: snapshot.name, number: snapshot.number, sandbox: sandbox,
                parent: parents.compactMap { $0 }.first { owners[$0] != nil || sandboxIDs.contains($0) },
                state: (snapshot.isDeleting ? SnapshotState.deleting : .ready).rawValue,
                at: snapshot.capture.capturedAt, isCurrent: false)
        }
    }

    /// Everything that descends from a sandbox's oldest ancestor, parents before children, and where it stands now.
    func family(of sandbox: SandboxRecord) -> [TreeResource.Node] {
        var root = sandbox.id.rawValue
        var seen: Set<String> = [root]
        while let parent = nodes[root]?.parent, seen.insert(parent).inserted { root = parent }
        // It stands on a snapshot of its own; one of another sandbox is where it came from.
        let current = sandbox.currentSnapshot.flatMap { nodes[$0.rawValue] }
        let here = current.flatMap { $0.sandbox == sandbox.id.rawValue ? $0.id : nil } ?? sandbox.id.rawValue
        let children = Dictionary(grouping: nodes.values.filter { $0.parent != nil }) { $0.parent ?? "" }
        var family: [TreeResource.Node] = []
        var waiting = [root]
        var taken: Set<String> = []
        while let id = waiting.popLast() {
            guard taken.insert(id).inserted, var node = nodes[id] else { continue }
            node.isCurrent = id == here
            if id == root { node.parent = nil }
            family.append(node)
            // The last one in is the next one out: the oldest child first.
            waiting += (children[id] ?? []).sorted { ($0.at, $0.id) > ($1.at, $1.id) }.map(\.id)
        }
        return family
    }
}
