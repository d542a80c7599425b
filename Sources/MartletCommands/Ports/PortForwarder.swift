import MartletClient
import NIOCore
import NIOPosix
import SandboxModel

/// A port of this machine that is listened on.
struct PortListener: Sendable, CustomStringConvertible {
    let mapping: PortMapping
    let channel: NIOAsyncChannel<NIOAsyncChannel<ByteBuffer, ByteBuffer>, Never>
    let address: String
    let port: Int

    var description: String { address.contains(":") ? "[\(address)]:\(port)" : "\(address):\(port)" }
}

/// Carries connections to this machine's ports into a sandbox, each through a tunnel of its own.
struct PortForwarder: Sendable {
    let client: MartletClient
    let sandbox: String

    /// Takes all the ports, or none.
    ///
    /// - Throws: `unavailable` naming the port that cannot be had.
    func listen(on address: String, _ mappings: [PortMapping]) async throws -> [PortListener] {
        var listeners: [PortListener] = []
        for mapping in mappings {
            do {
                let channel = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
                    .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
                    .childChannelOption(.allowRemoteHalfClosure, value: true)
                    .bind(host: address, port: mapping.local) { channel in
                        channel.eventLoop.makeCompletedFuture {
                            try NIOAsyncChannel<ByteBuffer, ByteBuffer>(
                                wrappingChannelSynchronously: channel,
                                configuration: .init(isOutboundHalfClosureEnabled: true))
                        }
                    }
                let bound = channel.channel.localAddress
                listeners.append(
                    PortListener(
                        mapping: mapping, channel: channel, address: bound?.ipAddress ?? address,
                        port: bound?.port ?? mapping.local))
            } catch {
                for listener in listeners { try? await listener.channel.channel.close() }
                throw MartletError(.unavailable, "listen: \(address):\(mapping.local): \(error)")
            }
        }
        return listeners
    }

    /// Serves until cancelled, or until the sandbox is gone.
    ///
    /// - Throws: `not_found` then.
    func serve(_ listeners: [PortListener]) async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            for listener in listeners { group.addTask { try await serve(listener) } }
            defer { group.cancelAll() }
            try await group.waitForAll()
        }
    }

    private func serve(_ listener: PortListener) async throws {
        try await listener.channel.executeThenClose { connections in
            try await withThrowingDiscardingTaskGroup { group in
                for try await connection in connections {
                    group.addTask { try await forward(connection, to: listener) }
                }
            }
        }
    }

    private func forward(_ connection: NIOAsyncChannel<ByteBuffer, ByteBuffer>, to listener: PortListener) async throws
    {
        do {
            try await connection.executeThenClose { inbound, _ in
                try await client.withTunnel(sandbox, port: listener.mapping.remote) { tunnel in
                    try await PortForwarder.carry(inbound, connection.channel, tunnel)
                }
            }
        } catch let error as MartletError {
            // One connection's failure is no other's; without the sandbox there is none to come.
            guard error.code != .notFound else {
                // Ends the wait for the next one; what is thrown here is heard when that is over.
                try? await listener.channel.channel.close()
                throw error
            }
            if error.details["reason"] != "connection_broken" {
                Console.note("\(listener.description): \(Printable.lines(error.message))")
            }
        } catch is CancellationError {
            throw CancellationError()
        } catch {
            // The one who connected has left in the middle: that is theirs to do.
        }
    }

    /// Carries bytes both ways until both ends have said that they send no more.
    private static func carry(
        _ inbound: NIOAsyncChannelInboundStream<ByteBuffer>, _ local: any Channel, _ tunnel: PortTunnel
    ) async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask {
                for try await bytes in inbound { try await tunnel.write(bytes) }
                try Task.checkCancellation()
                try await tunnel.finishWriting()
            }
            group.addTask {
                for try await bytes in tunnel { try await local.writeAndFlush(bytes) }
                try await local.close(mode: .output)
            }
            defer { group.cancelAll() }
            try await group.waitForAll()
        }
    }
}
