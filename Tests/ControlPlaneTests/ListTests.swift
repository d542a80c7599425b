import MartletAPI
import SandboxModel
import Testing

@testable import ControlPlane

@Suite("Lists of sandboxes")
struct ListTests {
    @Test("Pages hold every sandbox once, though others come and go between them")
    func paging() async throws {
        try await PlaneFixture.with { fixture in
            let sandboxes = fixture.plane.sandboxes
            var made: [String] = []
            for _ in 0..<7 { made.append(try await fixture.create().id) }
            var seen: [String] = []
            var cursor: String?
            repeat {
                let page = try sandboxes.list(SandboxFilter(limit: 3, cursor: cursor), caller: .local)
                seen += page.items.map(\.id)
                cursor = page.nextCursor
                // Newer ones come before the pages that are still to be read.
                _ = try await fixture.create()
                if seen.count == 3 { try await sandboxes.delete(seen[2], caller: .local) }
            } while cursor != nil
            #expect(Set(seen) == Set(made))
            #expect(seen.count == made.count)
        }
    }

    @Test("Filters show what matches all of them")
    func filters() async throws {
        try await PlaneFixture.with { fixture in
            let sandboxes = fixture.plane.sandboxes
            let blue = try await fixture.create(CreateSandboxRequest(metadata: ["team": "blue", "n": "1"]))
            _ = try await fixture.create(CreateSandboxRequest(metadata: ["team": "red", "n": "1"]))
            func ids(_ filter: SandboxFilter) throws -> [String] {
                try sandboxes.list(filter, caller: .local).items.map(\.id)
            }
            #expect(try ids(SandboxFilter(metadata: ["team": "blue"])) == [blue.id])
            #expect(try ids(SandboxFilter(metadata: ["n": "1"])).count == 2)
            #expect(try ids(SandboxFilter(metadata: ["team": "blue", "n": "2"])).isEmpty)
            #expect(try ids(SandboxFilter(state: .failed)).isEmpty)
            #expect(try ids(SandboxFilter(state: .running)).count == 2)
        }
    }

    @Test("Cursors and limits that are none are refused", arguments: ["", "x", "MTIzOnNob3J0", "Li4vLi4="])
    func badCursors(cursor: String) async throws {
        try await PlaneFixture.with { fixture in
            let error = #expect(throws: MartletError.self) {
                try fixture.plane.sandboxes.list(SandboxFilter(cursor: cursor), caller: .local)
            }
            #expect(error?.details["field"] == "cursor")
            for limit in [0, -1, 1001] {
                #expect(throws: MartletError.self) {
                    try fixture.plane.sandboxes.list(SandboxFilter(limit: limit), caller: .local)
                }
            }
        }
    }
}
