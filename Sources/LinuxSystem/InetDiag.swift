/// One TCP connection as the kernel tells it.
public struct TCPConnection: Sendable, Equatable {
    /// The address family: 2 for IPv4, 10 for IPv6.
    public var family: UInt8
    public var localPort: UInt16
    public var remotePort: UInt16
    /// 4 or 16 bytes.
    public var localAddress: [UInt8]
    public var remoteAddress: [UInt8]
    /// The file it belongs to; 0 when no program holds it any more, or none has taken it yet.
    public var inode: UInt32
    /// The kernel's own name of it (`inet_diag_sockid`), which a request to end it repeats.
    var identity: [UInt8]

    /// Whether both its ends are the machine's own loopback: 127/8, ::1, or the former written as IPv6.
    public var isLoopback: Bool {
        TCPConnection.isLoopback(localAddress) && TCPConnection.isLoopback(remoteAddress)
    }

    private static func isLoopback(_ address: [UInt8]) -> Bool {
        guard address.count == 16 else { return address.first == 127 }
        for index in 0..<10 where address[index] != 0 { return false }
        if address[10] == 0xFF, address[11] == 0xFF { return address[12] == 127 }
        for index in 10..<15 where address[index] != 0 { return false }
        return address[15] == 1
    }
}

/// The messages of the kernel's socket diagnostics: linux/netlink.h, linux/sock_diag.h, linux/inet_diag.h.
///
/// Netlink speaks the machine's byte order, which is little-endian wherever Martlet runs; ports and addresses inside
/// are in network order.
enum InetDiag {
    /// SOCK_DIAG_BY_FAMILY and SOCK_DESTROY.
    private static let byFamily: UInt16 = 20
    private static let destroy: UInt16 = 21
    /// NLM_F_REQUEST, NLM_F_ACK, NLM_F_DUMP.
    private static let isRequest: UInt16 = 0x001
    private static let wantsAnswer: UInt16 = 0x004
    private static let isDump: UInt16 = 0x300
    /// NLMSG_ERROR, NLMSG_DONE.
    private static let errorType: UInt16 = 2
    private static let doneType: UInt16 = 3
    /// Every state of net/tcp_states.h but CLOSE (7) and LISTEN (10).
    private static let connectedStates: UInt32 = 0b1_1011_0111_1110
    private static let tcp: UInt8 = 6
    private static let headerLength = 16
    private static let identityLength = 48
    /// Family, state, timer, retransmissions; identity; expiry, two queues, user, inode.
    private static let answerLength = 4 + identityLength + 20
    static let families: [UInt8] = [2, 10]

    /// Asks for all connections of a family.
    static func list(family: UInt8) -> [UInt8] {
        request(
            byFamily, isRequest | isDump, family, states: connectedStates,
            identity: [UInt8](repeating: 0, count: identityLength))
    }

    /// Ends a connection: the programs at both ends see it broken.
    static func end(_ connection: TCPConnection) -> [UInt8] {
        request(destroy, isRequest | wantsAnswer, connection.family, states: 0, identity: connection.identity)
    }

    /// nlmsghdr, then inet_diag_req_v2.
    private static func request(
        _ type: UInt16, _ flags: UInt16, _ family: UInt8, states: UInt32, identity: [UInt8]
    ) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(headerLength + 8 + identityLength)
        append(UInt32(headerLength + 8 + identityLength), to: &bytes)
        append(UInt32(type) | UInt32(flags) << 16, to: &bytes)
        append(0, to: &bytes)
        append(0, to: &bytes)
        append(UInt32(family) | UInt32(tcp) << 8, to: &bytes)
        append(states, to: &bytes)
        bytes += identity
        return bytes
    }

    private static func append(_ word: UInt32, to bytes: inout [UInt8]) {
        for shift: UInt32 in [0, 8, 16, 24] { bytes.append(UInt8(truncatingIfNeeded: word >> shift)) }
    }

    /// What one message of an answer says.
    enum Answer: Equatable {
        case connection(TCPConnection)
        /// The end of a list, or the answer to a request: 0, or the kernel's error number.
        case done(Int32)
    }

    /// The messages in what one read brought; nil if it is none.
    static func answers(in bytes: UnsafeRawBufferPointer) -> [Answer]? {
        var answers: [Answer] = []
        var start = 0
        while start + headerLength <= bytes.count {
            let length = Int(bytes.loadUnaligned(fromByteOffset: start, as: UInt32.self))
            guard length >= headerLength, length <= bytes.count - start else { return nil }
            let body = UnsafeRawBufferPointer(rebasing: bytes[start + headerLength..<start + length])
            switch bytes.loadUnaligned(fromByteOffset: start + 4, as: UInt16.self) {
            case doneType, errorType:
                guard body.count >= 4 else { return nil }
                let code = body.loadUnaligned(as: Int32.self)
                answers.append(.done(code < 0 ? 0 &- code : 0))
            case byFamily:
                guard let connection = connection(body) else { return nil }
                answers.append(.connection(connection))
            default: break
            }
            // Each message begins at a multiple of four.
            start += (length + 3) & ~3
        }
        return answers
    }

    /// inet_diag_msg.
    private static func connection(_ body: UnsafeRawBufferPointer) -> TCPConnection? {
        guard body.count >= answerLength, families.contains(body[0]) else { return nil }
        let identity = Array(body[4..<4 + identityLength])
        let size = body[0] == families[0] ? 4 : 16
        return TCPConnection(
            family: body[0], localPort: UInt16(identity[0]) << 8 | UInt16(identity[1]),
            remotePort: UInt16(identity[2]) << 8 | UInt16(identity[3]),
            localAddress: Array(identity[4..<4 + size]), remoteAddress: Array(identity[20..<20 + size]),
            inode: body.loadUnaligned(fromByteOffset: answerLength - 4, as: UInt32.self), identity: identity)
    }
}
