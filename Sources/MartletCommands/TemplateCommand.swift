import ArgumentParser
import MartletAPI
import MartletClient
import SandboxModel

/// Templates: what sandboxes start from.
struct TemplateCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "template", abstract: "Build, list and remove templates.",
        subcommands: [
            TemplateBuildCommand.self, TemplateListCommand.self, TemplateGetCommand.self, TemplateRemoveCommand.self,
        ], aliases: ["templates"])
}

/// Shows the templates.
struct TemplateListCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "ls", abstract: "List templates.", aliases: ["list"])

    @Flag(name: [.short, .long], help: "Print names only.")
    var quiet = false

    @OptionGroup var output: OutputOptions

    func run() async throws {
        let templates = try await Session.with { try await $0.templates() }
        if quiet {
            for template in templates { Console.print(template.name) }
            return
        }
        try output.show(Page(items: templates, nextCursor: nil)) { Self.text(templates) }
    }

    static func text(_ templates: [TemplateResource], colour: Bool = Style.isOnForOutput) -> String {
        var table = Table(["NAME", "STATE", "SIZE", "CPUS", "MEMORY", "DISK", "CAPTURES", "BUILT", "DESCRIPTION"])
        table.paint = { column, text in
            guard column == 1 else { return text }
            let style: Style =
                switch text {
                case "ready": .green
                case "corrupt": .red
                case "absent": .dim
                default: .yellow
                }
            return style.paint(text, on: colour)
        }
        for template in templates {
            table.add([
                shown(template), template.state, template.sizeBytes == 0 ? "-" : Format.bytes(template.sizeBytes),
                "\(template.cpus)", "\(template.memoryMiB) MiB", "\(template.diskMiB) MiB", "\(template.captures)",
                template.builtAt.map { String($0.description.prefix(10)) } ?? "-", template.description,
            ])
        }
        return table.text
    }

    /// What is built out of another template has a name that is its owner's only; its id comes with `get` and `-q`.
    private static func shown(_ template: TemplateResource) -> String {
        guard let derived = template.derived else { return template.name }
        return derived.name + ":" + (derived.tags.isEmpty ? "(none)" : derived.tags.joined(separator: ","))
    }
}

/// Shows one template.
struct TemplateGetCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "get", abstract: "Show all about a template.")

    @Argument(help: "Name of the template.")
    var name: String

    @OptionGroup var output: OutputOptions

    func run() async throws {
        let template = try await Session.with { try await $0.template(name) }
        try output.show(template) {
            FactTable.text(
                [
                    ("name", template.name), ("description", template.description), ("state", template.state),
                    ("digest", template.digest ?? "-"), ("kernel", template.kernel ?? "-"),
                    ("size", Format.bytes(template.sizeBytes)), ("built", template.builtAt?.description ?? "-"),
                    ("cpus", "\(template.cpus)"), ("memory", "\(template.memoryMiB) MiB"),
                    ("disk", "\(template.diskMiB) MiB"), ("captures", "\(template.captures)"),
                ] + (template.derived.map(Self.facts) ?? []))
        }
    }
}

extension TemplateGetCommand {
    fileprivate static func facts(_ derived: TemplateResource.Derived) -> [(String, String)] {
        [
            ("template", derived.template), ("called", derived.name), ("tags", derived.tags.joined(separator: ", ")),
            ("built from", derived.parent),
        ]
    }
}

/// Removes what was built of templates.
struct TemplateRemoveCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "rm", abstract: "Remove what was built of templates; their definitions stay.",
        discussion:
            "Of a template that was built out of another one, by an E2B client for one, all builds are removed; "
            + "one of them is named by its id, or by name:tag.")

    @Argument(help: "Names of the templates.")
    var names: [String]

    func run() async throws {
        try await Session.with { client in
            for name in names {
                try await client.deleteTemplate(name)
                Console.print(name)
            }
        }
    }
}
