import Glibc
import Testing

@testable import GuestAgent

@Suite struct NetworkCardTests {
    @Test func `the kernel's command line tells all there is to know`() throws {
        let line = "quiet martlet.address=192.0.0.2/30 martlet.gateway=192.0.0.1 martlet.mtu=1400 martlet.pids=9\n"
        let card = try #require(NetworkCard(commandLine: line))
        #expect(card.address == UInt32(0xC000_0002).bigEndian)
        #expect(card.mask == UInt32(0xFFFF_FFFC).bigEndian)
        #expect(card.gateway == UInt32(0xC000_0001).bigEndian)
        #expect(card.gatewayText == "192.0.0.1")
        #expect(card.mtu == 1400)
    }

    @Test(arguments: [
        "", "quiet", "martlet.address=192.0.0.2 martlet.gateway=192.0.0.1", "martlet.address=192.0.0.2/30",
        "martlet.gateway=192.0.0.1", "martlet.address=192.0.0.2/33 martlet.gateway=192.0.0.1",
        "martlet.address=192.0.0.2/0 martlet.gateway=192.0.0.1", "martlet.address=x/30 martlet.gateway=192.0.0.1",
        "martlet.address=192.0.0.2/30 martlet.gateway=", "martlet.address=192.0.0.2/30 martlet.gateway=::1",
        "martlet.address=192.0.0.2/30/1 martlet.gateway=192.0.0.1",
    ])
    func `without a whole description there is no card`(line: String) {
        #expect(NetworkCard(commandLine: line) == nil)
    }
}
