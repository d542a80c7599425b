import CLinux
import Foundation
import Glibc
import GuestAgent
import LinuxSystem
import Synchronization

/// A real agent on a thread of its own, a client connected to it, and a directory that goes at the end.
struct AgentFixture {
    let client: TestClient
    let machine: RecordingMachine
    let directory: String

    /// Runs `body` with a served client; the agent has ended when it returns.
    static func with(
        configure: (inout AgentConfiguration) -> Void = { _ in }, _ body: (AgentFixture) async throws -> Void
    ) async throws {
        let directory = NSTemporaryDirectory() + "martlet-agent-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: directory) }
        var ends: [Int32] = [-1, -1]
        try SystemError.check(clinux_socketpair(&ends), "socketpair")
        let machine = RecordingMachine()
        var configuration = AgentConfiguration(descriptor: ends[0], machine: machine)
        configure(&configuration)
        let fixture = AgentFixture(
            client: TestClient(Descriptor(owning: ends[1])), machine: machine, directory: directory)
        let ended = serve(configuration)
        do {
            try await fixture.client.synchronize()
            try await body(fixture)
        } catch {
            await fixture.client.close()
            await ended.value
            throw error
        }
        await fixture.client.close()
        await ended.value
    }

    /// Runs an agent on its own thread; the task ends with it.
    private static func serve(_ configuration: AgentConfiguration) -> Task<Void, Never> {
        let (stream, end) = AsyncStream<Void>.makeStream()
        let thread = Thread {
            // A failure to start shows as a client that gets no answer.
            try? Agent(configuration).run()
            end.finish()
        }
        thread.start()
        return Task { for await _ in stream {} }
    }

    func path(_ name: String) -> String { directory + "/" + name }
}

/// Takes note of what would be done to the machine, which here is the developer's own.
final class RecordingMachine: MachineControl {
    private let log = Mutex<[String]>([])
    private let failing = Mutex<String?>(nil)
    private let hostKeys = Mutex<HostKeyFiles?>(nil)

    var calls: [String] { log.withLock { $0 } }

    /// Makes one call fail from now on, or none.
    func fail(_ call: String?) { failing.withLock { $0 = call } }

    /// Gives it host keys to remove.
    func use(_ files: HostKeyFiles) { hostKeys.withLock { $0 = files } }

    private func note(_ call: String, _ text: String = "") throws(SystemError) {
        log.withLock { $0.append(text.isEmpty ? call : call + " " + text) }
        if failing.withLock({ $0 }) == call { throw SystemError(call, "machine", errno: EPERM) }
    }

    func setClock(nanoseconds: Int64) throws(SystemError) { try note("clock", "\(nanoseconds)") }
    func reseed(entropy: [UInt8]) throws(SystemError) { try note("reseed", "\(entropy.count)") }
    func setIdentity(hostname: String, machineID: String) throws(SystemError) {
        try note("identity", hostname + " " + machineID)
    }
    func publishEnvironment(_ environment: [String]) throws(SystemError) {
        try note("environment", environment.joined(separator: " "))
    }
    func renewGeneration() throws(SystemError) { try note("generation") }
    func dropConnections() throws(SystemError) { try note("connections") }
    func hasOuterConnections() throws(SystemError) -> Bool { true }
    func hasHostKeys() throws(SystemError) -> Bool { true }
    func removeHostKeys() throws(SystemError) -> [String] {
        try note("keys")
        return try hostKeys.withLock { $0 }?.removeAll() ?? []
    }
    func trust(certificate: [UInt8]) throws(SystemError) { try note("trust", "\(certificate.count)") }
    func growDisk(to bytes: UInt64) throws(SystemError) { try note("grow", "\(bytes)") }
    func synchronize() throws(SystemError) { try note("sync") }
    func powerOff() { try? note("off") }
}
