import SandboxModel

/// What is to become a template, out of another one.
package struct TemplateDraft: Sendable {
    /// Whose disk it gets.
    package enum Source: Sendable {
        /// A running sandbox, which is ended.
        case sandbox(SandboxID)
        /// A template, as it is.
        case template
    }

    /// What it is found by on the node; of no other template.
    package var name: String
    package var source: Source
    /// The template it was made from: its kernel, its services and what it is warmed up with are this one's.
    package var parent: String
    package var derivation: TemplateDerivation
    /// nil: the parent's.
    package var cpus: Int?
    package var memoryMiB: Int?
    /// Runs in every sandbox of it, in the place of a service of the same name that the parent has.
    package var service: TemplateService?
    /// Programs run once before the capture, after what the parent has.
    package var warmup: [[String]]

    package init(
        name: String, source: Source, parent: String, derivation: TemplateDerivation, cpus: Int? = nil,
        memoryMiB: Int? = nil, service: TemplateService? = nil, warmup: [[String]] = []
    ) {
        self.name = name
        self.source = source
        self.parent = parent
        self.derivation = derivation
        self.cpus = cpus
        self.memoryMiB = memoryMiB
        self.service = service
        self.warmup = warmup
    }
}
