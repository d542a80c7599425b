import Foundation
import GuestClient
import GuestProtocol
import HostNetwork
import ImageStore
import Logging
import NIOCore
import NIOPosix
import SandboxEngine
import SandboxModel
import ServiceLifecycle
import Testing

@testable import Node
@testable import QEMUEngine

/// A real node with real machines in a directory of its own; images are shared, since they are only read.
struct NodeFixture {
    let node: Node
    let directory: String

    static var repository: String {
        URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent().path
    }

    static var imagesDirectory: String {
        ProcessInfo.processInfo.environment["MARTLET_TEST_IMAGES"] ?? "\(repository)/.cache/images"
    }

    static var isTemplateBuilt: Bool {
        FileManager.default.fileExists(atPath: "\(imagesDirectory)/templates/base.json")
    }

    static func makeEngine(in directory: String) -> QEMUEngine {
        QEMUEngine(
            configuration: .init(
                directory: "\(directory)/qemu",
                jail: .init(jailer: "\(repository)/libexec/martlet-jailer", dataDirectory: directory)),
            logger: logger,
            group: NIOSingletons.posixEventLoopGroup)
    }

    private static var logger: Logger {
        var logger = Logger(label: "test")
        logger.logLevel = .critical
        return logger
    }

    static func makeNode(
        in directory: String, pool: PoolConfiguration, maxSandboxes: Int = 16, stopsSandboxes: Bool = true,
        network: HostNetwork? = nil, images: String? = nil
    ) throws -> Node {
        let images = try ImageStore(
            directory: images ?? imagesDirectory, templatesDirectory: "\(repository)/templates",
            guestAgent: "\(repository)/libexec/martlet-guest", logger: logger)
        try FileManager.default.createDirectory(atPath: "\(directory)/qemu", withIntermediateDirectories: true)
        return try Node(
            configuration: NodeConfiguration(
                directory: directory, maxSandboxes: maxSandboxes, pool: pool, stopsSandboxesOnShutdown: stopsSandboxes),
            engines: [makeEngine(in: directory)], images: images,
            network: network.map { .success($0) } ?? .failure(MartletError(.unsupported, "not in this test")),
            logger: logger)
    }

    /// Runs `body` beside a running node; everything it made is gone afterwards, whatever happened.
    static func with(
        pool: PoolConfiguration = PoolConfiguration(isEnabled: false), maxSandboxes: Int = 16,
        _ body: @escaping @Sendable (NodeFixture) async throws -> Void
    ) async throws {
        try await withDirectory { directory in
            try await live(in: directory, pool: pool, maxSandboxes: maxSandboxes, body)
        }
    }

    /// Runs `body` with an empty directory for nodes; nothing of them is left afterwards.
    static func withDirectory(_ body: @Sendable (String) async throws -> Void) async throws {
        let directory = NSTemporaryDirectory() + "martlet-node-\(UUID().uuidString.prefix(8))"
        try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
        let outcome: Result<Void, any Error>
        do {
            try await body(directory)
            outcome = .success(())
        } catch {
            outcome = .failure(error)
        }
        let machines = (try? FileManager.default.contentsOfDirectory(atPath: "\(directory)/machines")) ?? []
        for machine in machines { await makeEngine(in: directory).reclaim("\(directory)/machines/\(machine)") }
        await makeEngine(in: directory).reclaimOthers(than: [])
        try? FileManager.default.removeItem(atPath: directory)
        try outcome.get()
        #expect(machines.isEmpty, "machine directories were left behind")
    }

    /// The life of one node in a directory that may have seen another: from its recovery to its orderly end.
    ///
    /// - Parameter stopsSandboxes: false leaves them running for the next node, as when a daemon is ended.
    static func live(
        in directory: String, pool: PoolConfiguration = PoolConfiguration(isEnabled: false), maxSandboxes: Int = 16,
        stopsSandboxes: Bool = true, network: HostNetwork? = nil, images: String? = nil,
        _ body: @escaping @Sendable (NodeFixture) async throws -> Void
    ) async throws {
        let node = try makeNode(
            in: directory, pool: pool, maxSandboxes: maxSandboxes, stopsSandboxes: stopsSandboxes, network: network,
            images: images)
        let services: [any Service] = (network.map { [$0] } ?? []) + [node]
        let group = ServiceGroup(services: services, logger: Logger(label: "test"))
        try await withThrowingTaskGroup(of: Void.self) { tasks in
            tasks.addTask { try await group.run() }
            let outcome: Result<Void, any Error>
            do {
                try await node.recover()
                try await body(NodeFixture(node: node, directory: directory))
                outcome = .success(())
            } catch {
                outcome = .failure(error)
            }
            await group.triggerGracefulShutdown()
            try await tasks.waitForAll()
            await node.disconnect()
            try outcome.get()
        }
    }

    /// Names in a folder of the node's directory.
    func list(_ folder: String) -> [String] {
        ((try? FileManager.default.contentsOfDirectory(atPath: "\(directory)/\(folder)")) ?? []).sorted()
    }

    /// The most layers a machine's disk has.
    func layers() -> Int {
        list("machines").map { machine in list("machines/\(machine)").count { $0.hasSuffix(".qcow2") } }.max() ?? 0
    }

    /// Waits for what the node does in the background.
    func eventually(_ condition: @Sendable () async -> Bool) async -> Bool {
        for _ in 0..<400 {
            if await condition() { return true }
            try? await Task.sleep(for: .milliseconds(50))
        }
        return false
    }

    func create(
        _ template: String = "base", memoryMiB: Int? = nil, diskMiB: Int? = nil, environment: [String] = []
    ) async throws -> NodeSandbox {
        let id = SandboxID.random()
        return try await node.create(
            SandboxSpec(
                id: id, template: template, memoryMiB: memoryMiB, diskMiB: diskMiB, environment: environment,
                hostname: id.rawValue))
    }

    /// Children of a sandbox or snapshot, every one of which must have come to run.
    func fork(_ source: ForkSource, _ count: Int = 1, inheritsEnvironment: Bool = false) async throws -> [NodeSandbox] {
        let specs = (0..<count).map { _ in
            let id = SandboxID.random()
            return ForkSpec(id: id, hostname: id.rawValue, inheritsEnvironment: inheritsEnvironment)
        }
        return try await node.fork(source, into: specs).children.map { try $0.get() }
    }

    func destroy(_ sandboxes: NodeSandbox...) async throws { try await destroy(sandboxes) }

    func destroy(_ sandboxes: [NodeSandbox]) async throws {
        for sandbox in sandboxes { try await node.destroy(sandbox.id) }
    }

    /// What a shell script prints, without the last newline.
    func shell(_ script: String, in sandbox: NodeSandbox) async throws -> String {
        try await output(of: "/bin/sh", "-c", script, in: sandbox)
    }

    /// What a command prints, without the last newline.
    func output(of command: String..., in sandbox: NodeSandbox) async throws -> String {
        let guest = try await node.guest(of: sandbox.id)
        let outcome = try await guest.exec(StartProcess(arguments: command), outputLimit: 1 << 20)
        #expect(outcome.exit.code == 0, "\(command): \(String(decoding: outcome.standardError, as: UTF8.self))")
        var text = String(decoding: outcome.standardOutput, as: UTF8.self)
        if text.hasSuffix("\n") { text.removeLast() }
        return text
    }
}

extension Node {
    /// Lets go of all machines, as the end of a daemon's process does.
    fileprivate func disconnect() {
        for sandbox in running.values {
            sandbox.machine.guest.close()
            (sandbox.machine as? QEMUMachine)?.monitor.close()
        }
    }
}

extension Trait where Self == ConditionTrait {
    /// Needs the built template; `scripts/test` sees to it.
    static var requiresTemplate: Self {
        .enabled(if: NodeFixture.isTemplateBuilt, "the template base is not built in \(NodeFixture.imagesDirectory)")
    }
}
