import Foundation
import Testing

@testable import QEMUEngine

@Suite struct BlockGraphTests {
    /// What QEMU 7.2 answers for two bases, the machine's first layer and two that captures have put on top;
    /// permissions left out.
    private static let answer = """
        {"edges": [{"name": "file", "parent": 2, "child": 11}, {"name": "backing", "parent": 2, "child": 10},
        {"name": "file", "parent": 10, "child": 9}, {"name": "backing", "parent": 10, "child": 4},
        {"name": "file", "parent": 7, "child": 8}, {"name": "file", "parent": 5, "child": 6},
        {"name": "backing", "parent": 5, "child": 7}, {"name": "file", "parent": 4, "child": 3},
        {"name": "backing", "parent": 4, "child": 5}, {"name": "root", "parent": 1, "shared-perm": ["resize"],
        "perm": ["write", "consistent-read"], "child": 2}],
        "nodes": [{"name": "l7h2c9zp4efgh", "type": "block-driver", "id": 2},
        {"name": "#block412", "type": "block-driver", "id": 11},
        {"name": "lm3kq8xw2abcd", "type": "block-driver", "id": 10},
        {"name": "#block327", "type": "block-driver", "id": 9}, {"name": "base-0", "type": "block-driver", "id": 7},
        {"name": "#block235", "type": "block-driver", "id": 8}, {"name": "base-1", "type": "block-driver", "id": 5},
        {"name": "#block174", "type": "block-driver", "id": 6}, {"name": "root", "type": "block-driver", "id": 4},
        {"name": "#block011", "type": "block-driver", "id": 3},
        {"name": "/machine/peripheral-anon/device[0]/virtio-backend", "type": "block-backend", "id": 1}]}
        """

    private func layers(_ text: String) throws -> [String]? {
        try JSONDecoder().decode(BlockGraph.self, from: Data(text.utf8)).layers()
    }

    @Test func `the layers of a disk are read from the bottom up, without the base`() throws {
        #expect(try layers(BlockGraphTests.answer) == ["root", "lm3kq8xw2abcd", "l7h2c9zp4efgh"])
    }

    @Test func `a layer nothing stands on is not the disk's`() throws {
        let spare = "{\"name\": \"lspare\", \"type\": \"block-driver\", \"id\": 40}, "
        let text = BlockGraphTests.answer.replacingOccurrences(of: "\"nodes\": [", with: "\"nodes\": [" + spare)
        #expect(try layers(text) == ["root", "lm3kq8xw2abcd", "l7h2c9zp4efgh"])
    }

    @Test func `a graph without such a disk is none`() throws {
        #expect(try layers("{\"edges\": [], \"nodes\": []}") == nil)
        // A disk that stands on no base, and one that stands on itself.
        for (old, new) in [("\"base-", "\"other-"), ("\"parent\": 4, \"child\": 5", "\"parent\": 4, \"child\": 2")] {
            #expect(try layers(BlockGraphTests.answer.replacingOccurrences(of: old, with: new)) == nil)
        }
    }
}
