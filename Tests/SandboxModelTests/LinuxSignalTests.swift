import Testing

@testable import SandboxModel

struct LinuxSignalTests {
    @Test func `signals go by name, short name and number`() {
        for name in ["SIGTERM", "TERM", "term", "15"] { #expect(LinuxSignal(name)?.number == 15) }
        #expect(LinuxSignal("kill")?.number == 9)
        #expect(LinuxSignal("SIGSYS")?.number == 31)
        #expect(LinuxSignal("64")?.number == 64)
        for name in ["", "0", "65", "-9", "SIG", "SIGNOPE", "9 9", "TERM\n", "9; rm -rf /"] {
            #expect(LinuxSignal(name) == nil, "\(name)")
        }
    }

    @Test func `names lead back to their signals`() throws {
        for number in Int32(1)...31 {
            let signal = try #require(LinuxSignal(number: number))
            #expect(LinuxSignal(signal.name) == signal)
        }
        #expect(LinuxSignal(number: 9)?.name == "SIGKILL")
        #expect(LinuxSignal(number: 40)?.name == "SIG40")
        #expect(LinuxSignal(number: 0) == nil)
    }
}
