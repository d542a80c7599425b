import GuestProtocol
import Testing

/// One value of a message with its form on the wire; together they hold every message and every optional part.
struct Sample: Sendable, CustomTestStringConvertible {
    let name: String
    let encoded: [UInt8]
    /// Whether every cut-off form is refused; not so for a message that ends in "the rest".
    let hasFixedEnd: Bool
    /// Bytes at the end that an older peer does not send.
    let addedLater: Int
    /// Decodes bytes; true if they are this sample's value.
    let matches: @Sendable ([UInt8]) throws(WireError) -> Bool
    /// Decodes bytes and encodes what was found.
    let roundTrip: @Sendable ([UInt8]) throws(WireError) -> [UInt8]

    var testDescription: String { name }

    init<T: WireMessage>(_ name: String, _ value: T, hasFixedEnd: Bool = true, addedLater: Int = 0) {
        self.name = name
        self.hasFixedEnd = hasFixedEnd
        self.addedLater = addedLater
        encoded = value.encoded
        matches = { (bytes) throws(WireError) in try T(decoding: bytes) == value }
        roundTrip = { (bytes) throws(WireError) in try T(decoding: bytes).encoded }
    }
}

extension Sample {
    private static let exit = ProcessExit(
        code: 137, signal: 9, timedOut: true, wallMicroseconds: 1, userMicroseconds: 2, systemMicroseconds: 3,
        maxResidentBytes: 4, outputBytes: 5)
    private static let running = ProcessInfo(
        pid: 42, arguments: ["sh", "-c"], workingDirectory: "/", user: "root", hasTerminal: true,
        startedMilliseconds: -1, firstOffset: 10, outputBytes: 20, exit: nil)
    private static let file = FileInfo(
        path: "/a", kind: .symbolicLink, size: 258, mode: 0o4755, uid: 1, gid: 2, modifiedMilliseconds: 3, target: "b")
    private static var ended: ProcessInfo {
        var info = running
        info.exit = exit
        return info
    }
    private static var metrics: GuestMetrics {
        var metrics = GuestMetrics()
        metrics.uptimeMilliseconds = 1
        metrics.cpuIdleMilliseconds = 2
        metrics.processes = 0x0102_0304_0506_0708
        return metrics
    }

    static let all: [Sample] = machine + processes + files + services

    private static let services = [
        Sample("Connect", Connect(port: 8080)), Sample("ConnectionEvent", ConnectionEvent(.finished)),
    ]

    private static let machine = [
        Sample("OpenRequest", OpenRequest(.startProcess, window: 65_536, body: [1, 2])),
        Sample("GuestFailure", GuestFailure(.noSpace, errno: 28, "full é")),
        Sample("GuestHello", GuestHello(generation: 1, agentVersion: "0.1", kernel: "6.1", uptimeMilliseconds: 999)),
        Sample(
            "Thaw",
            Thaw(
                wallClockNanoseconds: 1_700_000_000_000_000_000, entropy: [9, 8], hostname: "h", machineID: "m",
                environment: ["A=1", "B="], diskBytes: 1 << 32, user: "u"), addedLater: 8),
        Sample(
            "Thaw that keeps",
            Thaw(
                wallClockNanoseconds: 1, entropy: [], hostname: "", machineID: "", keepsIdentity: true,
                keepsEnvironment: false, dropsConnections: true, renewsHostKeys: true, trustedCertificate: "PE!"),
            addedLater: 11),
        Sample(
            "Thawed", Thawed(clockSet: true, generatorReseeded: false, identitySet: true, diskGrown: false),
            addedLater: 3),
        Sample(
            "Thawed in part",
            Thawed(
                clockSet: true, generatorReseeded: true, identitySet: true, diskGrown: true,
                connectionsDropped: false, hostKeysRenewed: true, certificateTrusted: false), addedLater: 3),
        Sample("Hold", Hold(timeoutMilliseconds: 258, flush: true, surveys: true), addedLater: 1),
        Sample("Held", Held(frozen: true, flushed: false)),
        Sample("GuestMetrics", metrics),
    ]

    private static let processes = [
        Sample("TerminalSize", TerminalSize(rows: 24, columns: 300)),
        Sample(
            "StartProcess",
            StartProcess(
                arguments: ["a", ""], environment: ["X=y"], workingDirectory: "/w", user: "u", takesInput: true,
                terminal: TerminalSize(rows: 1, columns: 2), timeoutMilliseconds: 3, attach: .lossy, replayBytes: 4)),
        Sample("StartProcess without terminal", StartProcess(arguments: ["a"])),
        Sample("ProcessStarted", ProcessStarted(pid: 7)),
        Sample("AttachProcess", AttachProcess(pid: -1, offset: .max, mode: .exitOnly)),
        Sample("OutputData", OutputData(offset: 1, bytes: [0, 255]), hasFixedEnd: false),
        Sample("ProcessExit", exit),
        Sample("ProcessInfo running", running),
        Sample("ProcessInfo ended", ended),
        Sample("ProcessList", ProcessList([running, ended])),
        Sample("ProcessReference", ProcessReference(pid: 5)),
        Sample("SignalProcess", SignalProcess(pid: 5, signal: 15)),
        Sample("ResizeTerminal", ResizeTerminal(pid: 5, size: TerminalSize(rows: 6, columns: 7))),
        Sample("WriteInput", WriteInput(pid: 5, closes: true)),
    ]

    private static let files = [
        Sample("FileInfo", file),
        Sample("ReadFile", ReadFile(path: "/r", offset: 1, length: 2)),
        Sample("ReadFile whole", ReadFile(path: "/r")),
        Sample("WriteFile", WriteFile(path: "/w", mode: 0o600, owner: "o", labels: ["a=b"]), addedLater: 11),
        Sample("WriteFile keeping", WriteFile(path: "/w"), addedLater: 4),
        Sample("FileLabels", FileLabels(path: "p", labels: ["a=b"])),
        Sample("FileReference", FileReference(path: "/f")),
        Sample("ListDirectory", ListDirectory(path: "/l", depth: 3)),
        Sample("MakeDirectory", MakeDirectory(path: "/m", mode: 0o700, parents: false, owner: "o")),
        Sample("MoveFile", MoveFile(source: "/s", destination: "/d")),
        Sample("RemoveFile", RemoveFile(path: "/x", recursive: true)),
        Sample("WatchFiles", WatchFiles(path: "/y", recursive: false)),
        Sample("FileEvent", FileEvent(kind: .renamed, path: "/o", destination: "/n", isDirectory: true)),
    ]
}

/// A small generator with a seed, so that a failure can be had again.
struct SplitMix: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var value = state
        value = (value ^ (value >> 30)) &* 0xBF58_476D_1CE4_E5B9
        value = (value ^ (value >> 27)) &* 0x94D0_49BB_1331_11EB
        return value ^ (value >> 31)
    }
}

func hexadecimal(_ bytes: [UInt8]) -> String {
    bytes.map { byte in
        let digits = String(byte, radix: 16)
        return digits.count == 1 ? "0" + digits : digits
    }.joined()
}
