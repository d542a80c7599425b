/// What a stream does; the number is the contract, so it never changes its meaning.
public enum Operation: UInt8, Sendable, CaseIterable {
    // The guest as a whole
    case ping = 1
    case thaw = 2
    case freeze = 3
    case metrics = 4
    case powerOff = 5
    case hold = 6
    case release = 7
    // Processes
    case startProcess = 16
    case attachProcess = 17
    case listProcesses = 18
    case inspectProcess = 19
    case signalProcess = 20
    case resizeTerminal = 21
    case writeInput = 22
    case forgetProcess = 23
    case superviseProcess = 24
    // Files
    case readFile = 32
    case writeFile = 33
    case statFile = 34
    case listDirectory = 35
    case makeDirectory = 36
    case moveFile = 37
    case removeFile = 38
    case watchFiles = 39
    case listLabels = 40
    // Services
    case connect = 48
}

/// The payload of an open frame: the operation, how many bytes of data the guest may send at first, and the message.
public struct OpenRequest: WireMessage {
    public var operation: Operation
    public var window: UInt32
    public var body: [UInt8]

    public init(_ operation: Operation, window: UInt32 = 0, body: [UInt8] = []) {
        self.operation = operation
        self.window = window
        self.body = body
    }

    public func write(to writer: inout WireWriter) {
        writer.u8(operation.rawValue)
        writer.u32(window)
        writer.blob(body)
    }

    public init(from reader: inout WireReader) throws(WireError) {
        let number = try reader.u8()
        guard let operation = Operation(rawValue: number) else { throw WireError("operation \(number) is unknown") }
        self.operation = operation
        window = try reader.u32()
        body = try reader.blob()
    }
}

/// The protocol's generation: one number for both sides; the lower of two is spoken.
public enum ProtocolGeneration {
    public static let current: UInt16 = 1
    /// The name of the virtio-serial port that carries the protocol.
    public static let portName = "martlet.guest.0"
}

/// Why an operation failed inside the guest.
public struct GuestFailure: WireMessage, Error {
    public enum Code: UInt8, Sendable, CaseIterable {
        case `internal` = 0
        case invalidArgument = 1
        case notFound = 2
        case permissionDenied = 3
        case alreadyExists = 4
        case notDirectory = 5
        case isDirectory = 6
        case notEmpty = 7
        case noSpace = 8
        case commandNotFound = 9
        case notExecutable = 10
        case limitReached = 11
        case processExited = 12
        case unsupported = 13
        /// Nothing listens on the port.
        case connectionRefused = 14
        case connectionReset = 15
        case timedOut = 16
    }

    public var code: Code
    /// The kernel's error number, or 0.
    public var errno: Int32
    public var message: String

    public init(_ code: Code, errno: Int32 = 0, _ message: String) {
        self.code = code
        self.errno = errno
        self.message = message
    }

    public func write(to writer: inout WireWriter) {
        writer.u8(code.rawValue)
        writer.i32(errno)
        writer.string(message)
    }

    public init(from reader: inout WireReader) throws(WireError) {
        code = Code(rawValue: try reader.u8()) ?? .internal
        errno = try reader.i32()
        message = try reader.string()
    }
}
