import SandboxModel
import Testing

@Suite("Ids and names")
struct IdentifierTests {
    @Test("A new id is accepted as one, and no two are alike")
    func randomIDs() {
        let ids = (0..<1000).map { _ in SandboxID.random() }
        #expect(Set(ids).count == ids.count)
        #expect(ids.allSatisfy { SandboxID(rawValue: $0.rawValue) == $0 })
    }

    @Test(
        "What is not exactly an id is none",
        arguments: [
            "", "s", "s123", "t0000000000000000000", "s000000000000000000", "s00000000000000000000",
            "s000000000000000000/", "S0000000000000000000", "s000000000000000000i", "../../../../../../..",
            "s00000000000000000é",
        ])
    func refusesIDs(text: String) {
        #expect(SandboxID(rawValue: text) == nil)
    }

    @Test("An id of another kind has the asked length and alphabet")
    func otherKinds() {
        let id = RandomID.make(prefix: "k", length: 33)
        #expect(id.count == 33)
        #expect(id.first == "k")
        #expect(id.dropFirst().utf8.allSatisfy(RandomID.alphabet.contains))
    }

    @Test("A name is a DNS label", arguments: ["a", "web", "build-7", "0", String(repeating: "x", count: 63)])
    func acceptsNames(text: String) throws {
        #expect(try SandboxName.parse(text, field: "name").rawValue == text)
    }

    @Test(
        "What is no DNS label is refused, naming the field",
        arguments: ["", "-a", "a-", "A", "a_b", "a.b", "a/b", "ä", "a b", String(repeating: "x", count: 64), "a\0b"])
    func refusesNames(text: String) {
        let error = #expect(throws: MartletError.self) { try SandboxName.parse(text, field: "name") }
        #expect(error?.code == .invalidArgument)
        #expect(error?.details["field"] == "name")
    }
}
