import ControlStore
import LinuxSystem
import SandboxModel
import Testing

@testable import ControlPlane

@Suite("API keys")
struct KeyTests {
    private func file(_ scratch: Scratch) throws -> String {
        String(decoding: try AtomicFile.read(scratch.path + "/key"), as: UTF8.self)
    }

    @Test("The first start makes a key whose text is in the file alone")
    func firstStart() async throws {
        let scratch = try Scratch()
        let store = try await scratch.openStore()
        let keys = try await Keys.load(store: store)
        #expect(try await keys.ensureKeyFile(at: scratch.path + "/key"))
        let text = try file(scratch).trimmingNewline
        #expect(text.hasPrefix("mk_"))
        #expect(text.count == 55)
        let caller = try #require(keys.caller(presenting: text))
        #expect(caller.isAdmin)
        #expect(keys.caller(presenting: String(text.dropLast())) == nil)
        #expect(keys.caller(presenting: text + " ") == nil)
        #expect(keys.caller(presenting: "") == nil)
        let stored = try await store.keys()
        #expect(stored.count == 1)
        #expect(stored[0].hash == SecretHash.of(text))
        #expect(stored[0].hash != Array(text.utf8))
    }

    @Test("Later starts keep the key")
    func secondStart() async throws {
        let scratch = try Scratch()
        let store = try await scratch.openStore()
        _ = try await Keys.load(store: store).ensureKeyFile(at: scratch.path + "/key")
        let text = try file(scratch).trimmingNewline
        let keys = try await Keys.load(store: store)
        #expect(try await !keys.ensureKeyFile(at: scratch.path + "/key"))
        #expect(keys.caller(presenting: text) != nil)
        #expect(try await store.keys().count == 1)
    }

    @Test("A file that went missing is replaced and its key revoked")
    func lostFile() async throws {
        let scratch = try Scratch()
        let store = try await scratch.openStore()
        let keys = try await Keys.load(store: store)
        _ = try await keys.ensureKeyFile(at: scratch.path + "/key")
        let old = try file(scratch).trimmingNewline
        #expect(try await keys.ensureKeyFile(at: scratch.path + "/key2"))
        #expect(keys.caller(presenting: old) == nil)
        let again = try await Keys.load(store: store)
        #expect(again.caller(presenting: old) == nil)
        let error = await #expect(throws: MartletError.self) {
            try await again.ensureKeyFile(at: scratch.path + "/key")
        }
        #expect(error?.code == .failedPrecondition)
    }

    @Test("A key in the file that the store does not know is taken in again")
    func freshStore() async throws {
        let (scratch, other) = (try Scratch(), try Scratch())
        let first = try await scratch.openStore()
        _ = try await Keys.load(store: first).ensureKeyFile(at: scratch.path + "/key")
        let second = try await other.openStore()
        let keys = try await Keys.load(store: second)
        #expect(try await !keys.ensureKeyFile(at: scratch.path + "/key"))
        let text = try file(scratch).trimmingNewline
        #expect(keys.caller(presenting: text) != nil)
    }

    @Test("A file that holds no key is not overwritten")
    func junk() async throws {
        let scratch = try Scratch()
        let store = try await scratch.openStore()
        try AtomicFile.write(Array("hello\n".utf8), to: scratch.path + "/key")
        let error = await #expect(throws: MartletError.self) {
            try await Keys.load(store: store).ensureKeyFile(at: scratch.path + "/key")
        }
        #expect(error?.code == .failedPrecondition)
        #expect(try file(scratch) == "hello\n")
    }
}

extension String {
    fileprivate var trimmingNewline: String { hasSuffix("\n") ? String(dropLast()) : self }
}
