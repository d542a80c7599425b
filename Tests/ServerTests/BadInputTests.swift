import HTTPTypes
import MartletAPI
import SandboxModel
import Testing

@testable import Server

@Suite("Bad input")
struct BadInputTests {
    @Test(
        "A create that is not as it must be is 400 naming the field",
        arguments: [
            (#"{"templat":"base"}"#, "templat"), (#"{"cpus":"2"}"#, "cpus"), (#"{"cpus":1.5}"#, "cpus"),
            (#"{"cpus":99999999999999999999}"#, "cpus"), (#"{"memory_mb":1000000000}"#, "memory_mb"),
            (#"{"memory_mb":-1}"#, "memory_mb"), (#"{"timeout_seconds":0}"#, "timeout_seconds"),
            (#"{"env":{"A":1}}"#, "env.A"), (#"{"env":["A"]}"#, "env"), (#"{"env":{"A B":"1"}}"#, "env"),
            (#"{"env":{"A":"x\u0000"}}"#, "env.A"), (#"{"metadata":{"a":"\u0007"}}"#, "metadata.a"),
            (#"{"name":"../../etc"}"#, "name"), (#"{"template":"a/b"}"#, "template"), (#"[]"#, "body"),
            (#"{"#, "body"), (#""base""#, "body"), ("null", "body"), ("{}{}", "body"), ("nonsense", "body"),
        ])
    func badCreate(body: String, field: String) async throws {
        try await ServerFixture.with { fixture in
            try await fixture.routed { client in
                let answer = try await client.call(.post, "/v1/sandboxes", body)
                #expect(answer.status == 400)
                let error = try answer.error()
                #expect(error.code == "invalid_argument")
                #expect(error.details["field"] == field, "\(error.message)")
                #expect(error.message.contains(field))
            }
            #expect(fixture.node.created.isEmpty)
        }
    }

    @Test("An unknown template is 404, an engine that is not there 501, an unknown snapshot 404")
    func unknown() async throws {
        try await ServerFixture.with { fixture in
            try await fixture.routed { client in
                for (body, status) in [
                    (#"{"template":"nope"}"#, 404), (#"{"isolation":"nope"}"#, 501),
                    (#"{"isolation":"firecracker"}"#, 501), (#"{"from_snapshot":"x"}"#, 404),
                ] {
                    let answer = try await client.call(.post, "/v1/sandboxes", body)
                    #expect(answer.status == status)
                    _ = try answer.error()
                }
            }
        }
    }

    @Test("A field of an inner object that is not known is named too")
    func innerField() async throws {
        try await ServerFixture.with { fixture in
            let id = try await fixture.create()
            try await fixture.routed { client in
                let answer = try await client.call(
                    .post, "/v1/sandboxes/\(id)/processes", #"{"cmd":"true","pty":{"rows":1,"cols":1,"x":1}}"#)
                #expect(answer.status == 400)
                #expect(try answer.error().details["field"] == "pty.x")
                let unfit = try await client.call(
                    .post, "/v1/sandboxes/\(id)/processes",
                    #"{"cmd":"true","timeout_seconds":1.5,"pty":{"rows":70000,"cols":1}}"#)
                #expect(try unfit.error().details["field"] == "pty.rows")
                let missing = try await client.call(
                    .post, "/v1/sandboxes/\(id)/processes", #"{"cmd":"true","pty":{"rows":1}}"#)
                #expect(try missing.error().details["field"] == "pty.cols")
            }
        }
    }

    @Test("A body over 1 MiB is 413, one that is not UTF-8 400, one cut off 400")
    func bodies() async throws {
        try await ServerFixture.with { fixture in
            try await fixture.routed { client in
                let large = try await client.call(
                    .post, "/v1/sandboxes", bytes: Array(repeating: UInt8(ascii: " "), count: 2 << 20))
                #expect(large.status == 413)
                #expect(try large.error().code == "too_large")
                let binary = try await client.call(.post, "/v1/sandboxes", bytes: [0x7B, 0xFF, 0xFE, 0x7D])
                #expect(binary.status == 400)
                #expect(try binary.error().details["field"] == "body")
            }
        }
    }

    @Test("Invalid UTF-8, NUL and nothing in an argument list are 400")
    func arguments() async throws {
        try await ServerFixture.with { fixture in
            let id = try await fixture.create()
            try await fixture.routed { client in
                let path = "/v1/sandboxes/\(id)/exec"
                let bad: [[UInt8]] = [
                    Array(#"{"cmd":["a\u0000b"]}"#.utf8), Array(#"{"cmd":[]}"#.utf8), Array(#"{"cmd":[""]}"#.utf8),
                    Array(#"{"cmd":["\ud800"]}"#.utf8), Array(#"{"cmd":7}"#.utf8), Array(#"{}"#.utf8),
                    Array(#"{"cmd":["a"#.utf8) + [0xC3, 0x28] + Array(#""]}"#.utf8),
                    Array(#"{"cmd":"true","timeout_seconds":0}"#.utf8),
                    Array(#"{"cmd":"true","timeout_seconds":1e300}"#.utf8),
                    Array(#"{"cmd":"true","max_output_bytes":999999999}"#.utf8),
                    Array(#"{"cmd":"true","cwd":"tmp"}"#.utf8), Array(#"{"cmd":"true","user":"a b"}"#.utf8),
                    Array(#"{"cmd":"true","user":"no-such-user-here"}"#.utf8),
                ]
                for body in bad {
                    let answer = try await client.call(.post, path, bytes: body)
                    #expect(answer.status == 400, "\(String(decoding: body, as: UTF8.self)): \(answer.text)")
                    _ = try answer.error()
                }
            }
        }
    }

    @Test("A path that climbs out, is relative or is no text is 400; no file is touched")
    func paths() async throws {
        try await ServerFixture.with { fixture in
            let id = try await fixture.create()
            try await fixture.routed { client in
                for path in ["/../etc/passwd", "/tmp/../../x", "tmp/x", "", "%00", "/a%00b", "/%FF", "/%2e%2e/x"] {
                    for (method, suffix) in [
                        (.get, "files"), (.put, "files"), (.delete, "files"), (.get, "files/stat"),
                        (.get, "files/list"), (.get, "files/watch"),
                    ] as [(HTTPRequest.Method, String)] {
                        let answer = try await client.call(
                            method, "/v1/sandboxes/\(id)/\(suffix)?path=\(path)", method == .put ? "x" : nil)
                        #expect(answer.status == 400, "\(method) \(suffix) \(path)")
                        #expect(try answer.error().details["field"] == "path")
                    }
                }
                let missing = try await client.call(.get, "/v1/sandboxes/\(id)/files")
                #expect(try missing.error().details["field"] == "path")
            }
        }
    }

    @Test(
        "Query parameters are known, given once, and of their type",
        arguments: [
            ("/v1/sandboxes?limit=x", "limit"), ("/v1/sandboxes?limit=0", "limit"), ("/v1/sandboxes?limit=-1", "limit"),
            ("/v1/sandboxes?limt=1", "limt"), ("/v1/sandboxes?limit=1&limit=2", "limit"),
            ("/v1/sandboxes?state=asleep", "state"), ("/v1/sandboxes?cursor=zzz", "cursor"),
            ("/v1/sandboxes?metadata.=x", "metadata."),
        ])
    func queries(path: String, field: String) async throws {
        try await ServerFixture.with { fixture in
            try await fixture.routed { client in
                let answer = try await client.call(.get, path)
                #expect(answer.status == 400)
                #expect(try answer.error().details["field"] == field)
            }
        }
    }

    @Test("Unknown paths are 404 and wrong methods 405, both in the documented shape")
    func routing() async throws {
        try await ServerFixture.with { fixture in
            try await fixture.routed { client in
                for path in ["/", "/nope", "/v1", "/v1/sandboxes/x/nope", "/v9/sandboxes"] {
                    let answer = try await client.call(.get, path)
                    #expect(answer.status == 404)
                    #expect(try answer.error().code == "not_found")
                }
                let answer = try await client.call(.put, "/v1/sandboxes")
                #expect(answer.status == 405)
                #expect(answer.headers[.allow] == "GET, POST")
                #expect(try answer.error().code == "invalid_argument")
            }
        }
    }
}
