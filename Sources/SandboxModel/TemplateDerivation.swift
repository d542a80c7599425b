/// Where a template comes from that was built out of another one, by steps run in a sandbox: whose it is, by which names
/// it is found, and what its programs are given. It is one build; all builds of one template have the same `template`.
package struct TemplateDerivation: Sendable, Hashable, Codable {
    /// The id of the key it belongs to; nil: the user of the machine itself.
    package var owner: String?
    /// An id that all builds of one name share.
    package var template: String
    package var name: String
    /// The tags that lead to this build, and since when.
    package var tags: [String: Timestamp]
    /// The content address of what it was made from and how; equal ones of one owner come to the same.
    package var recipe: String
    /// What it was made from, as its builder called it.
    package var parent: String
    /// Variables of every program, over those of the template it was made from.
    package var environment: [String: String]
    /// Who programs run as that do not ask otherwise; nil is whatever it would be without.
    package var user: String?
    /// Where programs begin that do not ask otherwise; nil is the user's home.
    package var workingDirectory: String?

    package init(
        owner: String?, template: String, name: String, tags: [String: Timestamp], recipe: String, parent: String,
        environment: [String: String] = [:], user: String? = nil, workingDirectory: String? = nil
    ) {
        self.owner = owner
        self.template = template
        self.name = name
        self.tags = tags
        self.recipe = recipe
        self.parent = parent
        self.environment = environment
        self.user = user
        self.workingDirectory = workingDirectory
    }
}
