import SandboxModel

/// Which finished parts a template is made of: `templates/<name>.json`, replaced as a whole when a build is done.
struct TemplateRecord: Sealed, Equatable {
    static let currentFormat = "martlet-template/1"

    var format = TemplateRecord.currentFormat
    var name: String
    /// `TemplateDefinition.recipe` at the time of the build.
    var recipe: String
    var root: String
    var kernel: String
    var builtAt: Timestamp
    /// Of a template that was built out of another one, which has no file in the templates directory: what it is.
    var derived: Derived?
    var checksum = ""

    struct Derived: Codable, Sendable, Equatable {
        var derivation: TemplateDerivation
        var definition: TemplateDefinition
    }
}
