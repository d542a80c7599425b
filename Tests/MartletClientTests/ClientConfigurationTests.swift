import Glibc
import LinuxSystem
import SandboxModel
import Testing

@testable import MartletClient

@Suite struct ClientConfigurationTests {
    @Test func withoutAnAddressItIsTheLocalSocket() throws {
        let configuration = try ClientConfiguration(environment: ["MARTLET_DATA": "/srv/m/"])
        #expect(configuration.endpoint == .unixSocket(path: "/srv/m/api.sock"))
        #expect(configuration.apiKey == nil)
    }

    @Test func anAddressAndKeyOfTheEnvironmentAreTaken() throws {
        let configuration = try ClientConfiguration(
            environment: ["MARTLET_URL": "https://box.example/", "MARTLET_API_KEY": "k"])
        #expect(configuration.endpoint == .url("https://box.example"))
        #expect(configuration.apiKey == "k")
    }

    @Test func theLocalKeyGoesToThisMachineOnly() throws {
        let directory = try TemporaryDirectory()
        try AtomicFile.write(Array("mk_secret\n".utf8), to: directory.path + "/api-key", durable: false)
        func key(_ url: String) throws -> String? {
            try ClientConfiguration(environment: ["MARTLET_URL": url, "MARTLET_DATA": directory.path]).apiKey
        }
        #expect(try key("http://127.0.0.1:7070") == "mk_secret")
        #expect(try key("http://localhost:7070/") == "mk_secret")
        #expect(try key("http://[::1]:7070") == "mk_secret")
        #expect(try key("https://box.example") == nil)
        #expect(try key("http://127.0.0.1.evil.example") == nil)
        #expect(try key("http://localhost@evil.example") == nil)
    }

    @Test func anAddressThatIsNoneIsRefusedByName() {
        let error = #expect(throws: MartletError.self) {
            try ClientConfiguration(environment: ["MARTLET_URL": "ftp://x"])
        }
        #expect(error?.code == .invalidArgument)
        #expect(error?.message.contains("MARTLET_URL") == true)
    }

    @Test func endpointsAreRead() throws {
        #expect(try Endpoint(parsing: "/run/a.sock") == .unixSocket(path: "/run/a.sock"))
        #expect(try Endpoint(parsing: "unix:///run/a.sock") == .unixSocket(path: "/run/a.sock"))
        #expect(try Endpoint(parsing: "http://h:1//") == .url("http://h:1"))
        for text in ["", "host:1", "unix://relative", "http://", "http://:80"] {
            #expect(throws: MartletError.self) { try Endpoint(parsing: text) }
        }
    }

    @Test func theDataDirectoryFollowsTheEnvironment() {
        #expect(DataDirectory(environment: ["MARTLET_DATA": "/a/b//"]).path == "/a/b")
        #expect(DataDirectory(path: "x").path.hasPrefix("/"))
        let standard = DataDirectory(environment: ["HOME": "/home/u"]).path
        #expect(standard == (geteuid() == 0 ? "/var/lib/martlet" : "/home/u/.local/share/martlet"))
    }

    @Test func percentEncodingKeepsUnreservedCharactersOnly() {
        #expect(PercentEncoding.encode("aZ09-._~") == "aZ09-._~")
        #expect(PercentEncoding.encode("/a b+ü%") == "%2Fa%20b%2B%C3%BC%25")
    }
}
