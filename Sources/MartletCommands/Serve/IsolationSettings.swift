import SandboxModel

/// What the operator prefers and allows of walls.
struct IsolationSettings: Sendable {
    var preferred: IsolationChoice
    /// nil: every wall there is.
    var minimum: IsolationLevel?

    init(_ options: IsolationServeOptions, environment: [String: String]) throws(MartletError) {
        let given = Variables(environment)
        let name = options.defaultIsolation ?? given.text("MARTLET_DEFAULT_ISOLATION")
        let choice = try name.map { (text) throws(MartletError) in
            try IsolationChoice(parsing: text, field: "default-isolation")
        }
        preferred = choice == nil || choice == .auto ? .microVM : choice ?? .microVM
        guard preferred != .processes else {
            throw .invalid("default-isolation", "process is for who asks for it by name, not for everybody")
        }
        guard let level = options.minimumIsolation ?? given.text("MARTLET_MINIMUM_ISOLATION") else { return }
        guard let minimum = IsolationLevel(rawValue: level) else {
            let known = IsolationLevel.allCases.map(\.rawValue).joined(separator: ", ")
            throw .invalid("minimum-isolation", "'\(level.prefix(40))' is none of \(known)")
        }
        self.minimum = minimum
    }
}
