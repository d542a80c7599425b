import NIOCore
import SandboxModel

/// Where a redirected connection was meant to go.
struct OriginalDestination: Sendable {
    /// Asks on the channel's own event loop.
    let of: @Sendable (any Channel) -> EventLoopFuture<Destination>

    /// SO_ORIGINAL_DST (linux/netfilter_ipv4.h): what connection tracking knows of it before it was translated.
    private static let originalDestination: CInt = 80

    /// As the kernel says.
    static let kernel = OriginalDestination { channel in
        guard let provider = channel as? any SocketOptionProvider else {
            return channel.eventLoop.makeFailedFuture(ChannelError.operationUnsupported)
        }
        return provider.unsafeGetSocketOption(level: .ip, name: .init(rawValue: originalDestination))
            .map { (raw: SocketAddressIn) in
                Destination(
                    address: IPv4Address(bits: UInt32(bigEndian: raw.address)), port: UInt16(bigEndian: raw.port))
            }
    }
}

/// `struct sockaddr_in` (netinet/in.h); numbers in network byte order.
private struct SocketAddressIn {
    var family: UInt16
    var port: UInt16
    var address: UInt32
    var zero: UInt64
}
