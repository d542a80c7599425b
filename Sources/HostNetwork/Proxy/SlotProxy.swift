import SandboxModel

/// Decides by names what one sandbox reaches: its name service and its transparent proxy.
package final class SlotProxy: Sendable {
    private init() {}

    /// Takes the sockets over and serves them, with everything refused until `apply`.
    ///
    /// - Parameter onDenial: told of each refusal, a bounded number a second, on an event loop; must not block.
    package static func start(
        sockets: SlotSockets, connector: any SlotConnector, environment: ProxyEnvironment,
        onDenial: @escaping @Sendable (NetworkDenial) -> Void
    ) async throws -> SlotProxy {
        throw MartletError(.unsupported, "network: not built yet")
    }

    /// Puts a policy and its secrets in force; connections that it does not allow end at once.
    ///
    /// - Throws: `internal` when the authority's key or certificate cannot be read; everything is refused then.
    package func apply(_ network: SandboxNetwork) async throws(MartletError) {}

    /// Closes the sockets and every connection; returns when nothing is left. Idempotent.
    package func stop() async {}
}
