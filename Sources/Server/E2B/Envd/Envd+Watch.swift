import ControlPlane
import E2BProtocol
import Hummingbird
import MartletAPI
import SandboxModel

/// Watching directories: `filesystem.Filesystem/WatchDir`, a stream, and its like for clients that ask again and again.
extension Envd {
    func watchDir(_ call: EnvdCall) async throws -> Response {
        let message = try await call.message(WatchRequest.self)
        return try ConnectStream.response(call, alive: WatchDirResponse.alive, heartbeat: heartbeat) { [self] sink in
            let target = try await watchTarget(message, call)
            let watch = try await begin(target, call)
            try await sink.send(WatchDirResponse.started)
            while let (kind, event) = try await watch.next() {
                for change in try target.changes(kind, event) {
                    try await sink.send(WatchDirResponse(filesystem: await told(change, target, call)))
                }
            }
        }
    }

    func createWatcher(_ call: EnvdCall) async throws -> Response {
        let target = try await watchTarget(try await call.message(WatchRequest.self), call)
        let id = watchers.add(try await begin(target, call), on: target, of: call.id)
        return try call.answer(CreateWatcherResponse(watcherId: id))
    }

    func watcherEvents(_ call: EnvdCall) async throws -> Response {
        let id = try await call.message(WatcherRequest.self).watcherId ?? ""
        guard let (watch, target) = watchers.watch(id, of: call.id) else { throw Envd.noWatcher(id) }
        var events: [FilesystemEvent] = []
        do {
            guard let ready = try watch.takeReady() else { throw MartletError(.unavailable, "the watch is over") }
            for (kind, event) in ready {
                for change in try target.changes(kind, event) { events.append(await told(change, target, call)) }
            }
        } catch let error as MartletError where error.code == .unavailable {
            // The sandbox was paused in between, or moved to another machine: nothing happened in it meanwhile.
            watchers.replace(id, with: try await begin(target, call), of: call.id)
        }
        return try call.answer(WatcherEventsResponse(events: events))
    }

    func removeWatcher(_ call: EnvdCall) async throws -> Response {
        let id = try await call.message(WatcherRequest.self).watcherId ?? ""
        guard watchers.remove(id, of: call.id) else { throw Envd.noWatcher(id) }
        return try call.answer(EmptyResponse())
    }

    private static func noWatcher(_ id: String) -> ConnectError {
        ConnectError(.notFound, "watcher with id \(id.prefix(64)) not found")
    }

    private func watchTarget(_ message: WatchRequest, _ call: EnvdCall) async throws -> WatchTarget {
        let path = try await resolve(message.path ?? "", user: try call.user(), call)
        guard let (real, found) = try await followed(path, call) else {
            throw ConnectError(.notFound, "path \(path) not found")
        }
        guard found.type == "directory" else {
            throw ConnectError(.invalidArgument, "path \(path) is not a directory")
        }
        return WatchTarget(
            path: real, isRecursive: message.recursive ?? false, includesEntry: message.includeEntry ?? false)
    }

    private func begin(_ target: WatchTarget, _ call: EnvdCall) async throws -> FileWatch {
        try await files.watch(call.id, path: target.path, recursive: target.isRecursive, caller: call.caller)
    }

    /// A change as clients read it, with what is known of the file now if they want that and it is still there.
    private func told(_ change: WatchTarget.Change, _ target: WatchTarget, _ call: EnvdCall) async -> FilesystemEvent {
        let hasEntry = target.includesEntry && change.type != .remove && change.type != .rename
        return FilesystemEvent(
            name: target.name(of: change.path), type: change.type,
            entry: hasEntry ? try? await entry(change.path, call) : nil)
    }
}
