/// A filter of system calls: which are let through, which only with certain arguments, and what becomes of the others.
///
/// Compiles to classic BPF as seccomp(2) takes it. Calls of another architecture, and x32's, end the process. Knows
/// x86_64's numbers only (arch/x86/entry/syscalls/syscall_64.tbl).
public struct SystemCallFilter: Sendable {
    /// What becomes of a call.
    public enum Action: Sendable, Equatable {
        case allow
        /// It fails with this error number, without being done.
        case fail(errno: UInt16)
        /// The whole process ends.
        case kill
        /// It is done, and the kernel's log tells of it.
        case log

        /// The kernel's number for it (SECCOMP_RET_*).
        public var number: UInt32 {
            switch self {
            case .allow: 0x7fff_0000
            case .fail(let errno): 0x0005_0000 | UInt32(errno)
            case .kill: 0x8000_0000
            case .log: 0x7ffc_0000
            }
        }
    }

    /// What is asked of an argument; its upper half is looked at too, unless said otherwise.
    public enum Condition: Sendable {
        /// All 64 bits are these.
        case equals(argument: Int, UInt64)
        /// Of the lower 32 bits, those of the mask are these.
        case masked(argument: Int, mask: UInt32, UInt32)
    }

    private struct Rule {
        var call: UInt32
        /// All must hold.
        var conditions: [Condition]
        var action: Action
    }

    private var rules: [Rule] = []
    private let otherwise: Action

    /// A filter that does `otherwise` with every call no rule matches.
    public init(otherwise: Action) { self.otherwise = otherwise }

    /// Lets calls through, whatever their arguments are.
    public mutating func allow(_ calls: [SystemCall]) {
        for call in calls { rules.append(Rule(call: call.rawValue, conditions: [], action: .allow)) }
    }

    /// Adds a rule; the first one whose conditions all hold decides.
    public mutating func add(_ call: SystemCall, when conditions: [Condition] = [], _ action: Action) {
        rules.append(Rule(call: call.rawValue, conditions: conditions, action: action))
    }

    /// The program, 8 bytes an instruction (struct sock_filter, little-endian).
    ///
    /// Each rule is a few instructions that skip over themselves when it does not match: no jump is longer than a rule, so
    /// that no list is too long for the 8 bits a jump has.
    public func compiled() -> [UInt8] {
        var program: [Instruction] = [
            .load(Offset.architecture), .jumpIfEqual(SystemCallFilter.architecture, then: 1, otherwise: 0),
            .return(Action.kill.number), .load(Offset.call),
            // x32's calls have this bit, and numbers of their own.
            .jumpIfAnySet(0x4000_0000, then: 0, otherwise: 1), .return(Action.kill.number),
        ]
        for rule in rules { program += SystemCallFilter.compile(rule) }
        program.append(.return(otherwise.number))
        return program.flatMap(\.bytes)
    }

    /// AUDIT_ARCH_X86_64.
    private static let architecture: UInt32 = 0xc000_003e

    private enum Offset {
        static let call: UInt32 = 0
        static let architecture: UInt32 = 4
        static func lower(_ argument: Int) -> UInt32 { 16 + UInt32(argument) * 8 }
        static func upper(_ argument: Int) -> UInt32 { 20 + UInt32(argument) * 8 }
    }

    private static func compile(_ rule: Rule) -> [Instruction] {
        guard !rule.conditions.isEmpty else {
            return [.jumpIfEqual(rule.call, then: 0, otherwise: 1), .return(rule.action.number)]
        }
        // Built from its end: how far a mismatch jumps is how much is there already. The accumulator holds an argument
        // by then, so the call's number is loaded again for the rules that follow.
        var body: [Instruction] = [.return(rule.action.number)]
        for condition in rule.conditions.reversed() {
            let rest = UInt8(body.count)
            switch condition {
            case .equals(let argument, let value):
                body =
                    [
                        .load(Offset.lower(argument)),
                        .jumpIfEqual(UInt32(truncatingIfNeeded: value), then: 0, otherwise: rest + 2),
                        .load(Offset.upper(argument)),
                        .jumpIfEqual(UInt32(truncatingIfNeeded: value >> 32), then: 0, otherwise: rest),
                    ] + body
            case .masked(let argument, let mask, let value):
                body =
                    [
                        .load(Offset.lower(argument)), .and(mask), .jumpIfEqual(value, then: 0, otherwise: rest),
                    ] + body
            }
        }
        return [.jumpIfEqual(rule.call, then: 0, otherwise: UInt8(body.count) + 1)] + body + [.load(Offset.call)]
    }

    /// One instruction of classic BPF.
    private struct Instruction {
        var code: UInt16
        var then: UInt8 = 0
        var otherwise: UInt8 = 0
        var value: UInt32

        static func load(_ offset: UInt32) -> Instruction { Instruction(code: 0x20, value: offset) }
        static func and(_ mask: UInt32) -> Instruction { Instruction(code: 0x54, value: mask) }
        static func `return`(_ value: UInt32) -> Instruction { Instruction(code: 0x06, value: value) }

        static func jumpIfEqual(_ value: UInt32, then: UInt8, otherwise: UInt8) -> Instruction {
            Instruction(code: 0x15, then: then, otherwise: otherwise, value: value)
        }

        static func jumpIfAnySet(_ value: UInt32, then: UInt8, otherwise: UInt8) -> Instruction {
            Instruction(code: 0x45, then: then, otherwise: otherwise, value: value)
        }

        var bytes: [UInt8] {
            [UInt8(truncatingIfNeeded: code), UInt8(code >> 8), then, otherwise]
                + (0..<4).map { UInt8(truncatingIfNeeded: value >> (8 * $0)) }
        }
    }
}
