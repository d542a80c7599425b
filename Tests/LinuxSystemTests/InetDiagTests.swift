import Testing

@testable import LinuxSystem

@Suite struct InetDiagTests {
    /// inet_diag_sockid: ports, source, destination, interface, cookie.
    private static let identity: [UInt8] =
        [0x1F, 0x90, 0x00, 0x50] + [10, 0, 2, 15] + [UInt8](repeating: 0, count: 12) + [93, 184, 216, 34]
        + [UInt8](repeating: 0, count: 12) + [2, 0, 0, 0] + [1, 2, 3, 4, 5, 6, 7, 8]

    /// inet_diag_msg behind its nlmsghdr, as a kernel sends it.
    private static func message(family: UInt8 = 2, identity: [UInt8] = identity, inode: UInt8 = 9) -> [UInt8] {
        let body: [UInt8] =
            [family, 1, 0, 0] + identity + [UInt8](repeating: 0, count: 16) + [inode, 0, 0, 0]
        return [88, 0, 0, 0, 20, 0, 2, 0] + [UInt8](repeating: 0, count: 8) + body
    }

    private static let done: [UInt8] = [20, 0, 0, 0, 3, 0, 2, 0] + [UInt8](repeating: 0, count: 12)

    @Test func requestsHaveTheirGoldenBytes() throws {
        let list = InetDiag.list(family: 10)
        #expect(list.count == 72)
        #expect(
            Array(list.prefix(24)) == [
                72, 0, 0, 0, 20, 0, 1, 3, 0, 0, 0, 0, 0, 0, 0, 0, 10, 6, 0, 0, 0x7E, 0x1B, 0, 0,
            ])
        #expect(list.dropFirst(24).allSatisfy { $0 == 0 })
        let found = try #require(answers(Self.message()))
        guard case .connection(let connection) = found[0] else { return #expect(Bool(false)) }
        let end = InetDiag.end(connection)
        #expect(
            Array(end.prefix(24)) == [
                72, 0, 0, 0, 21, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 6, 0, 0, 0, 0, 0, 0,
            ])
        #expect(Array(end.dropFirst(24)) == Self.identity)
    }

    @Test func connectionsAreReadWithTheEndOfTheList() throws {
        let other = Self.message(family: 10, inode: 0)
        let found = try #require(answers(Self.message() + other + Self.done))
        #expect(found.count == 3)
        guard case .connection(let first) = found[0], case .connection(let second) = found[1] else {
            return #expect(Bool(false))
        }
        #expect(first.localPort == 8080 && first.remotePort == 80)
        #expect(first.localAddress == [10, 0, 2, 15] && first.remoteAddress == [93, 184, 216, 34])
        #expect(first.inode == 9)
        #expect(second.localAddress.count == 16 && second.inode == 0)
        #expect(found[2] == .done(0))
        // NLMSG_ERROR with -ENOENT, and with 0, which is an acknowledgement.
        let failed: [UInt8] = [20, 0, 0, 0, 2, 0, 0, 0] + [UInt8](repeating: 0, count: 8) + [254, 255, 255, 255]
        #expect(answers(failed) == [.done(2)])
        #expect(answers([20, 0, 0, 0, 2, 0, 0, 0] + [UInt8](repeating: 0, count: 12)) == [.done(0)])
    }

    @Test func whatIsNoMessageIsRefused() {
        let whole = Self.message()
        for length in 16..<whole.count { #expect(answers(Array(whole.prefix(length))) == nil) }
        for length: UInt8 in [0, 15, 89] { #expect(answers([length] + whole.dropFirst()) == nil) }
        #expect(answers(Self.message(family: 3)) == nil)
        #expect(answers([16, 0, 0, 0, 3, 0, 0, 0] + [UInt8](repeating: 0, count: 8)) == nil)
        #expect(answers([]) == [])
        var random = SystemRandomNumberGenerator()
        for _ in 0..<5000 {
            var bytes = whole + Self.done
            for _ in 0..<4 {
                bytes[.random(in: 0..<bytes.count, using: &random)] = .random(in: 0...255, using: &random)
            }
            _ = answers(bytes)
        }
    }

    @Test(
        arguments: [
            ([127, 0, 0, 1], [127, 255, 0, 9], true), ([127, 0, 0, 1], [10, 0, 0, 1], false),
            ([10, 0, 0, 1], [127, 0, 0, 1], false), ([1, 27, 0, 0], [127, 0, 0, 1], false),
            ([UInt8](repeating: 0, count: 15) + [1], [UInt8](repeating: 0, count: 15) + [1], true),
            ([UInt8](repeating: 0, count: 15) + [2], [UInt8](repeating: 0, count: 15) + [1], false),
            (
                [UInt8](repeating: 0, count: 10) + [255, 255, 127, 0, 0, 1],
                [UInt8](repeating: 0, count: 10) + [255, 255, 127, 1, 2, 3], true
            ),
            (
                [UInt8](repeating: 0, count: 10) + [255, 255, 10, 0, 0, 1],
                [UInt8](repeating: 0, count: 10) + [255, 255, 127, 1, 2, 3], false
            ),
            ([0xFE, 0x80] + [UInt8](repeating: 0, count: 13) + [1], [UInt8](repeating: 0, count: 15) + [1], false),
        ] as [([UInt8], [UInt8], Bool)])
    func loopbackIsToldFromTheRest(_ local: [UInt8], _ remote: [UInt8], _ isLoopback: Bool) {
        let connection = TCPConnection(
            family: local.count == 4 ? 2 : 10, localPort: 1, remotePort: 2, localAddress: local, remoteAddress: remote,
            inode: 1, identity: [])
        #expect(connection.isLoopback == isLoopback)
    }

    private func answers(_ bytes: [UInt8]) -> [InetDiag.Answer]? {
        bytes.withUnsafeBytes { InetDiag.answers(in: $0) }
    }
}
