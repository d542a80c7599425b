import Foundation
import GuestClient
import GuestProtocol
import ImageStore
import Logging
import NIOCore
import NIOPosix
import Node
import QEMUEngine
import SandboxEngine
import SandboxModel
import ServiceLifecycle
import Testing

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

    static func makeNode(in directory: String, pool: PoolConfiguration, maxSandboxes: Int = 16) async throws -> Node {
        var logger = Logger(label: "test")
        logger.logLevel = .warning
        let images = try ImageStore(
            directory: imagesDirectory, templatesDirectory: "\(repository)/templates",
            guestAgent: "\(repository)/libexec/martlet-guest", logger: logger)
        let engine = QEMUEngine(
            configuration: .init(directory: "\(directory)/qemu"), logger: logger,
            group: NIOSingletons.posixEventLoopGroup)
        try FileManager.default.createDirectory(atPath: "\(directory)/qemu", withIntermediateDirectories: true)
        return try Node(
            configuration: NodeConfiguration(
                directory: directory, maxSandboxes: maxSandboxes, pool: pool, stopsSandboxesOnShutdown: true),
            engines: [engine], images: images, logger: logger)
    }

    /// Runs `body` beside a running node; everything it made is gone afterwards, whatever happened.
    static func with(
        pool: PoolConfiguration = PoolConfiguration(isEnabled: false), maxSandboxes: Int = 16,
        _ body: @escaping @Sendable (NodeFixture) async throws -> Void
    ) async throws {
        let directory = NSTemporaryDirectory() + "martlet-node-\(UUID().uuidString.prefix(8))"
        try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: directory) }
        let node = try await makeNode(in: directory, pool: pool, maxSandboxes: maxSandboxes)
        let group = ServiceGroup(services: [node], logger: Logger(label: "test"))
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
            try outcome.get()
        }
        let left = try FileManager.default.contentsOfDirectory(atPath: "\(directory)/machines")
        #expect(left.isEmpty, "machine directories were left behind")
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

extension Trait where Self == ConditionTrait {
    /// Needs the built template; `scripts/test` sees to it.
    static var requiresTemplate: Self {
        .enabled(if: NodeFixture.isTemplateBuilt, "the template base is not built in \(NodeFixture.imagesDirectory)")
    }
}
