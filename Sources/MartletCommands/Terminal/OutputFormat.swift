import ArgumentParser
import FoundationEssentials

/// How data is printed.
enum OutputFormat: String, ExpressibleByArgument, CaseIterable {
    case table, json
}

/// The option that every verb with data to show has.
struct OutputOptions: ParsableArguments {
    @Option(
        name: [.customShort("o"), .customLong("output")],
        help: "Print a table for people, or JSON as the API has it.")
    var format: OutputFormat = .table

    /// Prints the value as JSON, or what `table` makes of it.
    func show(_ value: some Encodable, table: () -> String) throws {
        switch format {
        case .table: Console.print(table())
        case .json: Console.print(try JSONText.of(value))
        }
    }
}

/// JSON for people and scripts: indented, keys sorted.
enum JSONText {
    static func of(_ value: some Encodable) throws -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
        return String(decoding: try encoder.encode(value), as: UTF8.self)
    }
}
