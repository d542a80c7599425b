/// Things in the order they came; what is taken is let go of at once, which a slice of an array would not do.
struct Line<Element> {
    private var items: [Element?] = []
    private var head = 0

    var count: Int { items.count - head }
    var isEmpty: Bool { count == 0 }

    init() {}

    init(_ elements: some Sequence<Element>) { items = elements.map { $0 } }

    mutating func append(_ element: Element) { items.append(element) }

    mutating func append(contentsOf elements: some Sequence<Element>) {
        for element in elements { append(element) }
    }

    /// The first, or nil.
    mutating func take() -> Element? {
        guard head < items.count else { return nil }
        defer {
            items[head] = nil
            head += 1
            // Moved together once in a while, so that taking stays cheap.
            if head * 2 > items.count {
                items.removeFirst(head)
                head = 0
            }
        }
        return items[head]
    }

    /// All there are, which leaves none.
    mutating func takeAll() -> [Element] {
        defer { self = Line() }
        return items[head...].compactMap { $0 }
    }
}
