import Foundation

/// One way around a policy, tried from inside a guest as root. It must come to nothing, be told as an event, and be seen
/// nowhere outside.
struct Attempt: Sendable {
    /// Scripts that change their card's settings first, which a guest without a kernel of its own may not.
    static let reconfiguring: Set = ["changed_address", "changed_mac", "changed_route", "ipv6_enabled"]

    /// What an attempt's event says of where it went.
    enum Report: Sendable {
        /// The place of its own that each attempt has.
        case place
        case address(String)
        case name(String)
        /// Only that it was refused: what it was meant for is not in what the rule sees.
        case anything
        /// Nothing is told, and why: it never becomes a packet that a rule could see.
        case untold(String)
    }

    /// What an attempt of a guest that nothing guards comes to; what would get nowhere anyway is no proof of a guard.
    enum Unguarded: Sendable {
        case arrives
        /// Why it cannot be tried there.
        case untried(String)
    }

    let name: String
    let policy: LabPolicy
    /// A function of `Tests/NetworkLab/guest/attempts.py`.
    let script: String
    /// `TOKEN` stands for letters that only this attempt has, `PLACE` for an address that only this one goes to.
    let arguments: [String: Argument]
    /// Which rules may refuse it; more than one where it is a matter of who is first.
    let rules: Set<String>
    let report: Report
    let unguarded: Unguarded

    init(
        _ name: String, _ policy: LabPolicy, _ script: String, _ arguments: [String: Argument], rules: Set<String>,
        _ report: Report, unguarded: Unguarded = .arrives
    ) {
        self.name = name
        self.policy = policy
        self.script = script
        self.arguments = arguments
        self.rules = rules
        self.report = report
        self.unguarded = unguarded
    }
}

/// An attempt with a token and a place of its own, as a guest is told it.
struct PreparedAttempt: Sendable {
    let attempt: Attempt
    let token: String
    let place: String
    let arguments: [String: Argument]

    /// - Parameter number: not given to any other attempt of the lab.
    init(_ attempt: Attempt, number: Int) {
        self.attempt = attempt
        token = "tok" + UUID().uuidString.lowercased().filter(\.isHexDigit).prefix(12)
        place = "93.184.\(110 + number / 250).\(number % 250 + 1)"
        var arguments = attempt.arguments
        arguments["token"] = "TOKEN"
        self.arguments = arguments.mapValues { [token, place] in
            $0.replacing("TOKEN", with: token).replacing("PLACE", with: place)
        }
    }

    /// The line for `attempts.py`.
    var line: String {
        get throws {
            var all = arguments
            all["attempt"] = .text(attempt.script)
            return String(decoding: try JSONEncoder().encode(all), as: UTF8.self)
        }
    }

    private func filled(_ text: String) -> String {
        text.replacingOccurrences(of: "TOKEN", with: token).replacingOccurrences(of: "PLACE", with: place)
    }

    /// Whether an event's details are this attempt's.
    func isReported(by details: [String: String]) -> Bool {
        guard attempt.rules.contains(details["rule"] ?? "") else { return false }
        return switch attempt.report {
        case .place: details["address"] == place
        case .address(let address): details["address"] == address
        case .name(let name): details["name"] == filled(name)
        case .anything: true
        case .untold: false
        }
    }
}

/// What a guest saw of its attempt.
struct AttemptOutcome: Decodable, Sendable {
    var refused: Bool
    var detail: String

    /// Whether the kernel would not even make what it takes: a raw socket, say.
    var isForbidden: Bool {
        (refused || isUntried)
            && ["Operation not permitted", "Permission denied", "not supported", "No such device"]
                .contains(where: detail.contains)
    }

    /// Whether it never came to trying.
    var isUntried: Bool { detail.hasPrefix("could not try") }
}

extension NetworkLab {
    /// Has the guest that nothing guards try something.
    func tryUnguarded(_ attempt: PreparedAttempt) async throws -> AttemptOutcome {
        let line = try await command("attempt", ["line": .text(try attempt.line)]).line ?? ""
        return try JSONDecoder().decode(AttemptOutcome.self, from: Data(line.utf8))
    }
}
