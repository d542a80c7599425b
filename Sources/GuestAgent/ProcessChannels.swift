import CLinux
import Glibc
import GuestProtocol
import LinuxSystem

/// Both ends of what a process reads and writes, before it is started.
struct ProcessChannels {
    /// The child's descriptors 0, 1 and 2; nil is /dev/null.
    var child: [Descriptor?]
    let outputs: [(Descriptor, OutputChannel)]
    let input: Descriptor?
    let terminal: Descriptor?

    init(_ request: StartProcess) throws(SystemError) {
        if let size = request.terminal {
            var main: Int32 = -1
            var replica: Int32 = -1
            try SystemError.check(
                clinux_open_terminal(&main, &replica, size.rows, size.columns), "open", "/dev/ptmx")
            let terminal = Descriptor(owning: main)
            let user = Descriptor(owning: replica)
            try terminal.setNonBlocking()
            child = [user, user, user]
            outputs = [(terminal, .standardOutput)]
            input = terminal
            self.terminal = terminal
            return
        }
        let output = try ProcessChannels.pipe()
        let error = try ProcessChannels.pipe()
        try output.read.setNonBlocking()
        try error.read.setNonBlocking()
        var standardInput: Descriptor?
        if request.takesInput {
            let pipe = try ProcessChannels.pipe()
            try pipe.write.setNonBlocking()
            standardInput = pipe.read
            input = pipe.write
        } else {
            input = nil
        }
        child = [standardInput, output.write, error.write]
        outputs = [(output.read, .standardOutput), (error.read, .standardError)]
        terminal = nil
    }

    private static func pipe() throws(SystemError) -> (read: Descriptor, write: Descriptor) {
        var ends: [Int32] = [-1, -1]
        try SystemError.check(clinux_pipe(&ends, 0), "pipe2")
        return (Descriptor(owning: ends[0]), Descriptor(owning: ends[1]))
    }
}
