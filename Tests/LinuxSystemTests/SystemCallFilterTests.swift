import CLinux
import Glibc
import Testing

@testable import LinuxSystem

/// Filters are run by an interpreter of ours over made-up calls, and by the kernel where it says so.
@Suite struct SystemCallFilterTests {
    private static let architecture: UInt32 = 0xc000_003e

    /// What a filter does with a call.
    private func outcome(
        _ filter: SystemCallFilter, _ call: SystemCall, _ arguments: [UInt64] = [], architecture: UInt32 = architecture
    ) throws -> UInt32 {
        try outcome(filter, number: call.rawValue, arguments, architecture: architecture)
    }

    private func outcome(
        _ filter: SystemCallFilter, number: UInt32, _ arguments: [UInt64] = [], architecture: UInt32 = architecture
    ) throws -> UInt32 {
        var data: [UInt32] = [number, architecture, 0, 0]
        for index in 0..<6 {
            let value = index < arguments.count ? arguments[index] : 0
            data += [UInt32(truncatingIfNeeded: value), UInt32(value >> 32)]
        }
        let program = filter.compiled()
        #expect(program.count % 8 == 0)
        var at = 0
        var accumulator: UInt32 = 0
        while at * 8 < program.count {
            let code = UInt16(program[at * 8]) | UInt16(program[at * 8 + 1]) << 8
            let (then, otherwise) = (Int(program[at * 8 + 2]), Int(program[at * 8 + 3]))
            let value = (0..<4).reduce(UInt32(0)) { $0 | UInt32(program[at * 8 + 4 + $1]) << (8 * UInt32($1)) }
            at += 1
            switch code {
            case 0x20: accumulator = data[Int(value) / 4]
            case 0x54: accumulator &= value
            case 0x06: return value
            case 0x15: at += accumulator == value ? then : otherwise
            case 0x45: at += accumulator & value != 0 ? then : otherwise
            default: try #require(Bool(false), "instruction \(code)")
            }
        }
        try #require(Bool(false), "the program ends without a word")
        return 0
    }

    private typealias Action = SystemCallFilter.Action

    @Test func `what is listed is let through, and nothing else`() throws {
        var filter = SystemCallFilter(otherwise: .fail(errno: UInt16(EPERM)))
        filter.allow([.read, .write, .exit_group])
        for call in SystemCall.allCases {
            let wanted: Action = [.read, .write, .exit_group].contains(call) ? .allow : .fail(errno: UInt16(EPERM))
            #expect(try outcome(filter, call) == wanted.number, "\(call)")
        }
    }

    @Test func `another architecture and x32 end the process`() throws {
        var filter = SystemCallFilter(otherwise: .allow)
        filter.allow([.read])
        #expect(try outcome(filter, .read, architecture: 0x4000_0003) == Action.kill.number)
        #expect(try outcome(filter, number: 0x4000_0000) == Action.kill.number)
    }

    @Test func `arguments decide, all 64 bits of them, and the rules after still see the call`() throws {
        var filter = SystemCallFilter(otherwise: .kill)
        filter.add(.prctl, when: [.equals(argument: 0, 15)], .allow)
        filter.add(.prctl, when: [.equals(argument: 0, 38), .equals(argument: 1, 1 << 40 | 1)], .log)
        filter.add(.clone, when: [.masked(argument: 0, mask: 0x10100, 0x10100)], .allow)
        filter.allow([.close])
        #expect(try outcome(filter, .prctl, [15]) == Action.allow.number)
        #expect(try outcome(filter, .prctl, [15 | 1 << 32]) == Action.kill.number)
        #expect(try outcome(filter, .prctl, [38, 1 << 40 | 1]) == Action.log.number)
        #expect(try outcome(filter, .prctl, [38, 1]) == Action.kill.number)
        #expect(try outcome(filter, .prctl, [38, 1 << 40]) == Action.kill.number)
        #expect(try outcome(filter, .clone, [0x3d0f00 | 0x10000]) == Action.allow.number)
        #expect(try outcome(filter, .clone, [0x100]) == Action.kill.number)
        #expect(try outcome(filter, .close) == Action.allow.number)
        #expect(try outcome(filter, .fork) == Action.kill.number)
    }

    @Test func `a filter of every call is one the kernel would take`() throws {
        var filter = SystemCallFilter(otherwise: .kill)
        filter.allow(SystemCall.allCases)
        // BPF_MAXINSNS.
        #expect(filter.compiled().count / 8 <= 4096)
        #expect(clinux_filter_action_available(Action.kill.number) == 1)
        #expect(clinux_filter_action_available(0x1234_0000) == 0)
    }
}
