/// A table in plain text: columns as wide as their widest cell, two blanks between.
struct Table {
    private var rows: [[String]]
    /// Paints a cell by its column and text; colour does not count for the width.
    var paint: (_ column: Int, _ text: String) -> String = { $1 }

    init(_ header: [String]) { rows = [header] }

    mutating func add(_ cells: [String]) { rows.append(cells.map(Printable.line)) }

    /// The whole table; a line per row, no blanks at the end of a line.
    var text: String {
        let columns = rows.map(\.count).max() ?? 0
        let widths = (0..<columns).map { column in rows.map { column < $0.count ? $0[column].count : 0 }.max() ?? 0 }
        return rows.enumerated().map { index, row in
            let cells = row.enumerated().map { column, cell in
                let padding = column == row.count - 1 ? 0 : widths[column] - cell.count + 2
                return (index == 0 ? cell : paint(column, cell)) + String(repeating: " ", count: padding)
            }
            var line = cells.joined()
            while line.hasSuffix(" ") { line.removeLast() }
            return line
        }.joined(separator: "\n") + "\n"
    }
}
