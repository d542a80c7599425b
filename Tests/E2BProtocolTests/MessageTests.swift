import FoundationEssentials
import Testing

@testable import E2BProtocol

@Suite("Messages in protobuf's JSON")
struct MessageTests {
    private func text(_ value: some Encodable) throws -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        return String(decoding: try encoder.encode(value), as: UTF8.self)
    }

    @Test("Events of processes have the shape clients read")
    func events() throws {
        #expect(try text(ProcessEventResponse(.start(pid: 42))) == #"{"event":{"start":{"pid":42}}}"#)
        #expect(try text(ProcessEventResponse(.stdout([104, 105]))) == #"{"event":{"data":{"stdout":"aGk="}}}"#)
        #expect(try text(ProcessEventResponse(.stderr([0]))) == #"{"event":{"data":{"stderr":"AA=="}}}"#)
        #expect(try text(ProcessEventResponse(.pty([10]))) == #"{"event":{"data":{"pty":"Cg=="}}}"#)
        #expect(try text(ProcessEventResponse(.keepalive)) == #"{"event":{"keepalive":{}}}"#)
        let end = ProcessEventResponse.Event.end(exitCode: 3, exited: true, status: "exit status 3", error: nil)
        #expect(
            try text(ProcessEventResponse(end))
                == #"{"event":{"end":{"exitCode":3,"exited":true,"status":"exit status 3"}}}"#)
    }

    @Test("Bytes come in either alphabet, padded or not", arguments: ["-_-_", "+/+/", "-_-", "+/+=", "-_", "+/==", ""])
    func base64(text: String) throws {
        let json = #"{"input":{"pty":"\#(text)"}}"#
        let message = try ProtoJSON.decode(SendInputRequest.self, from: Array(json.utf8))
        let whole: [UInt8] = [0xFB, 0xFF, 0xBF]
        let count = [4: text.hasSuffix("==") ? 1 : text.hasSuffix("=") ? 2 : 3, 3: 2, 2: 1][text.utf8.count] ?? 0
        // The last bits of a cut group are not the whole's.
        #expect(message.input?.bytes.count == count)
        if count == 3 { #expect(message.input?.bytes == whole) }
    }

    @Test("Enums come by name or number; one that is not known is none")
    func enums() throws {
        func signal(_ text: String) throws -> ProcessSignal? {
            try ProtoJSON.decode(SendSignalRequest.self, from: Array(#"{"signal":\#(text)}"#.utf8)).signal?.value
        }
        #expect(try signal(#""SIGNAL_SIGKILL""#) == .kill)
        #expect(try signal("15") == .terminate)
        #expect(try signal("77") == nil)
        #expect(try signal(#""SIGNAL_SIGUSR1""#) == nil)
    }

    @Test("A file's facts: 64-bit size as text, permissions as Go writes them")
    func entries() throws {
        func entry(_ mode: UInt32, _ type: FileType) -> EntryInfo {
            EntryInfo(
                name: "f", type: type, path: "/f", size: 1 << 40, mode: mode, owner: "user", group: "user",
                modifiedTime: "2026-01-01T00:00:00.000Z", symlinkTarget: nil)
        }
        #expect(try text(entry(0o644, .file)).contains(#""size":"1099511627776""#))
        #expect(try text(entry(0o644, .file)).contains(#""type":"FILE_TYPE_FILE""#))
        #expect(entry(0o644, .file).permissions == "-rw-r--r--")
        #expect(entry(0o755, .directory).permissions == "drwxr-xr-x")
        #expect(entry(0o777, .symlink).permissions == "Lrwxrwxrwx")
        #expect(entry(0o1777, .directory).permissions == "dtrwxrwxrwx")
        #expect(entry(0o4755, .file).permissions == "urwxr-xr-x")
    }

    @Test("A create takes what any client sends, and passes over what it does not know")
    func creates() throws {
        let body = #"""
            {"templateID":"base","timeout":30,"secure":true,"autoResume":{"enabled":true},"metadata":{"a":"b"},
             "envVars":{"X":"1"},"allow_internet_access":false,"network":{"allowOut":["1.2.3.4"],"later":1},"iam":{}}
            """#
        let create = try ProtoJSON.decode(NewSandbox.self, from: Array(body.utf8))
        #expect(create.templateID == "base" && create.timeout == 30 && create.autoResume?.enabled == true)
        #expect(create.allowInternetAccess == false && create.network?.allowOut == ["1.2.3.4"])
        #expect(create.metadata == ["a": "b"] && create.envVars == ["X": "1"])
    }

    @Test("Every code has a status that is an error's")
    func codes() {
        for code in ConnectError.Code.allCases { #expect((400...599).contains(code.httpStatus)) }
        #expect(ConnectError.Code.notFound.httpStatus == 404 && ConnectError.Code.alreadyExists.httpStatus == 409)
        #expect(ConnectError.Code.deadlineExceeded.rawValue == "deadline_exceeded")
    }
}
