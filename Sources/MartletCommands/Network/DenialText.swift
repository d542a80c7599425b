import FoundationEssentials
import MartletAPI
import SandboxModel

/// What a sandbox was refused, a line for each.
enum DenialText {
    static let kind = "network_denied"

    /// Columns as wide as most of what stands in them, so that lines can be printed as they come.
    private static let widths = [24, 10, 9, 22]

    static let header = line(["TIME", "KIND", "TRANSPORT", "RULE", "TARGET"])

    static func line(_ event: SandboxEvent) -> String {
        let details = event.details
        let port = details["port"].map { ":\($0)" } ?? ""
        let target =
            switch (details["name"], details["address"]) {
            case (let name?, let address?): "\(name)\(port) (\(address))"
            case (let known?, nil), (nil, let known?): known + port
            case (nil, nil): "-"
            }
        let times = details["count"].flatMap(Int.init).flatMap { $0 > 1 ? " x\($0)" : nil } ?? ""
        return line([
            event.time.description, details["kind"] ?? "-", details["transport"] ?? "-", details["rule"] ?? "-",
            target + times,
        ])
    }

    /// One JSON object on one line.
    static func json(_ event: SandboxEvent) throws -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        return String(decoding: try encoder.encode(event), as: UTF8.self)
    }

    private static func line(_ cells: [String]) -> String {
        cells.enumerated().map { index, cell in
            let text = Printable.line(cell)
            guard index < widths.count else { return text }
            return text + String(repeating: " ", count: max(0, widths[index] - text.count) + 2)
        }.joined()
    }
}
