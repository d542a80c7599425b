import GuestClient
import GuestProtocol
import MartletAPI
import SandboxModel

import struct FoundationEssentials.Data

extension ProcessResource {
    /// What the guest tells of a process. Its times are the guest's clock.
    init(_ info: ProcessInfo) {
        self.init(
            pid: info.pid, cmd: info.arguments, cwd: info.workingDirectory, user: info.user, pty: info.hasTerminal,
            startedAt: Timestamp(milliseconds: info.startedMilliseconds.bounded), running: info.exit == nil,
            firstOffset: info.firstOffset, outputBytes: info.outputBytes, exit: info.exit.map(ProcessExitResource.init))
    }
}

extension ProcessExitResource {
    /// How the guest tells that a process ended.
    package init(_ exit: ProcessExit) {
        self.init(
            exitCode: exit.code, signal: LinuxSignal(number: exit.signal)?.name, timedOut: exit.timedOut,
            durationMilliseconds: Double(exit.wallMicroseconds) / 1000,
            cpuMilliseconds: (Double(exit.userMicroseconds) + Double(exit.systemMicroseconds)) / 1000,
            maxResidentBytes: exit.maxResidentBytes, outputBytes: exit.outputBytes)
    }
}

extension OutputEvent {
    /// A piece of output: as text if it is UTF-8.
    package init(offset: UInt64, bytes: ArraySlice<UInt8>) {
        if let text = String(validating: bytes, as: UTF8.self) {
            self.init(offset: offset, text: text, base64: nil)
        } else {
            self.init(offset: offset, text: nil, base64: Data(bytes).base64EncodedString())
        }
    }
}

extension Int64 {
    /// A guest's time held to years a four-digit year can write.
    var bounded: Int64 { Swift.min(Swift.max(self, 0), 253_402_300_799_999) }
}
