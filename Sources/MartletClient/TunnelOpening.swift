import MartletAPI
import NIOCore
import NIOPosix
import NIOSSL
import SandboxModel

/// Opens a connection to the server and has it changed into a tunnel (RFC 9110, section 7.8).
struct TunnelOpening {
    let transport: HTTPTransport
    let call: APICall

    /// Hands the tunnel to `body`; the connection is closed when that is over.
    func run<Result: Sendable>(_ body: (PortTunnel) async throws -> Result) async throws -> Result {
        let channel = try await open()
        return try await channel.executeThenClose { inbound, _ in
            try await body(PortTunnel(channel: channel, inbound: inbound))
        }
    }

    private func open() async throws -> NIOAsyncChannel<ByteBuffer, ByteBuffer> {
        let name = HTTPTransport.name(call)
        do {
            let address = try ServerAddress(transport.configuration.endpoint)
            let request = request(host: address.authority)
            let group = MultiThreadedEventLoopGroup.singleton
            let opened = try await ClientBootstrap(group: group)
                .channelOption(.allowRemoteHalfClosure, value: true)
                .connectTimeout(.nanoseconds(Int64(transport.configuration.connectTimeout / .nanoseconds(1))))
                .connect(to: address) { channel in
                    let promise = channel.eventLoop.makePromise(of: NIOAsyncChannel<ByteBuffer, ByteBuffer>.self)
                    do {
                        let pipeline = channel.pipeline.syncOperations
                        if let host = address.tlsHost {
                            let context = try NIOSSLContext(configuration: .makeClientConfiguration())
                            try pipeline.addHandler(try NIOSSLClientHandler(context: context, serverHostname: host))
                        }
                        try pipeline.addHandler(TunnelHandshake(request: request, name: name, promise: promise))
                    } catch {
                        promise.fail(error)
                    }
                    return channel.eventLoop.makeSucceededFuture(promise.futureResult)
                }
            return try await opened.get()
        } catch {
            throw transport.translate(error, call)
        }
    }

    private func request(host: String) -> ByteBuffer {
        let query = call.query.compactMap { name, value in value.map { "\(name)=\(PercentEncoding.encode($0))" } }
        let target =
            "/" + call.path.map(PercentEncoding.encode).joined(separator: "/") + "?" + query.joined(separator: "&")
        var text =
            "GET \(ServerAddress.prefix(transport.configuration.endpoint))\(target) HTTP/1.1\r\nHost: \(host)\r\n"
        text += "Connection: Upgrade\r\nUpgrade: martlet-tcp\r\n"
        if let key = transport.configuration.apiKey { text += "Authorization: Bearer \(key)\r\n" }
        return ByteBuffer(string: text + "\r\n")
    }
}

/// Where to connect to for an endpoint.
struct ServerAddress {
    enum Place {
        case unix(SocketPath)
        case host(String, Int)
    }

    let place: Place
    /// For the `Host` field.
    let authority: String
    /// The name to check the server's certificate against; nil without TLS.
    let tlsHost: String?

    init(_ endpoint: Endpoint) throws(MartletError) {
        switch endpoint {
        case .unixSocket(let path):
            place = .unix(SocketPath(path))
            authority = "localhost"
            tlsHost = nil
        case .url(let url):
            let isTLS = url.hasPrefix("https://")
            guard let authority = url.split(separator: "/").dropFirst().first.map(String.init) else {
                throw .invalid("url", "'\(url)' names no host")
            }
            self.authority = authority
            var host = Substring(authority)
            var port = isTLS ? 443 : 80
            if let colon = host.lastIndex(of: ":"), !host.hasSuffix("]") {
                guard let number = UInt16(host[host.index(after: colon)...]) else {
                    throw .invalid("url", "'\(url)': what stands after the colon is no port")
                }
                port = Int(number)
                host = host[..<colon]
            }
            if host.hasPrefix("["), host.hasSuffix("]") { host = host.dropFirst().dropLast() }
            place = .host(String(host), port)
            tlsHost = isTLS ? String(host) : nil
        }
    }

    /// The path an endpoint's address has itself.
    static func prefix(_ endpoint: Endpoint) -> String {
        guard case .url(let url) = endpoint else { return "" }
        return url.split(separator: "/").dropFirst(2).map { "/" + $0 }.joined()
    }
}

extension ClientBootstrap {
    fileprivate func connect<Output: Sendable>(
        to address: ServerAddress, initializer: @escaping @Sendable (any Channel) -> EventLoopFuture<Output>
    ) async throws -> Output {
        switch address.place {
        case .unix(let socket):
            let output = try await connect(unixDomainSocketPath: socket.path, channelInitializer: initializer)
            // The path may lead through a descriptor that lives as long as this.
            withExtendedLifetime(socket) {}
            return output
        case .host(let host, let port):
            return try await connect(host: host, port: port, channelInitializer: initializer)
        }
    }
}
