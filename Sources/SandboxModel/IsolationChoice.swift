/// The isolation a sandbox is asked to have: whatever the template or the operator prefers, or one engine.
public enum IsolationChoice: Sendable, Hashable, Codable, CustomStringConvertible {
    case auto
    /// An engine by its own name.
    case engine(String)

    /// What clients call engines by what they are; the names of engines work as well.
    private static let aliases = ["microvm": "qemu", "process": "bubblewrap"]
    /// What `auto` is where nobody prefers anything else.
    public static let microVM = IsolationChoice.engine("qemu")
    /// Processes of the host's own kernel: never chosen unasked.
    public static let processes = IsolationChoice.engine("bubblewrap")

    /// What clients usually call the isolation of an engine, such as `microvm` for `qemu`.
    public static func usualName(of engine: String) -> String {
        aliases.first { $0.value == engine }?.key ?? engine
    }

    /// Parses `auto`, `microvm`, `gvisor`, `process`, `firecracker` or the name of an engine.
    ///
    /// - Throws: `invalid_argument` naming `field`; whether there is such an engine is the host's business.
    public init(parsing text: String, field: String = "isolation") throws(MartletError) {
        guard SandboxName(rawValue: text) != nil else {
            throw .invalid(
                field, "must be 'auto', 'microvm', 'firecracker', 'gvisor', 'process' or the name of an engine")
        }
        self = text == "auto" ? .auto : .engine(IsolationChoice.aliases[text] ?? text)
    }

    public init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        do {
            self = try IsolationChoice(parsing: container.decode(String.self))
        } catch let error as MartletError {
            throw DecodingError.dataCorruptedError(in: container, debugDescription: error.message)
        }
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(description)
    }

    public var description: String {
        switch self {
        case .auto: "auto"
        case .engine(let name): name
        }
    }
}
