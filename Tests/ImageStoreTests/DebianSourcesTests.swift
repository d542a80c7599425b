import ImageStore
import SandboxModel
import Testing

@Suite struct DebianSourcesTests {
    private let deb822 = """
        # a comment
        Types: deb
        URIs: http://mirror.example/debian
        # inside
        Suites: bookworm bookworm-updates bookworm-backports
        Components: main contrib
        Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

        Types: deb deb-src
        URIs: http://mirror.example/debian-security
        Suites: bookworm-security
        Components: main

        Types: deb
        Enabled: no
        URIs: http://off.example/debian
        Suites: bookworm
        Components: main
        """

    @Test func readsStanzas() {
        let sources = AptSource.parse(deb822: deb822)
        #expect(sources.map(\.uris) == [["http://mirror.example/debian"], ["http://mirror.example/debian-security"]])
        #expect(sources[0].signedBy == "/usr/share/keyrings/debian-archive-keyring.gpg")
        #expect(sources[1].signedBy == nil)
    }

    @Test func keepsAKeyOfManyLines() {
        let stanza =
            "Types: deb\nURIs: http://a/debian\nSuites: sid\nComponents: main\nSigned-By:\n -----BEGIN\n .\n END\n"
        let source = AptSource.parse(deb822: stanza)
        #expect(source.first?.signedBy == "\n -----BEGIN\n .\n END")
        #expect(AptSource.parse(deb822: source.first?.deb822 ?? "") == source)
    }

    @Test func readsLines() {
        let sources = AptSource.parse(
            oneLine: """
                # deb http://old/debian bookworm main
                deb [arch=amd64 signed-by=/a.gpg] http://m/debian bookworm main contrib # here
                deb-src http://m/debian bookworm main
                deb http://m/debian bookworm
                """)
        #expect(
            sources == [
                AptSource.parse(
                    deb822: "Types: deb\nURIs: http://m/debian\nSuites: bookworm\nComponents: main contrib\n"
                        + "Signed-By: /a.gpg\n")[0]
            ])
    }

    @Test func takesTheReleaseFromTheMachinesMirrorsAndLeavesOtherVendorsOut() throws {
        let vendors = AptSource.parse(
            oneLine: """
                deb http://vendor.example/node bookworm main
                deb http://vendor.example/linux/debian bookworm stable
                """)
        let sources = DebianSources(hostCodename: "bookworm", sources: vendors + AptSource.parse(deb822: deb822))
        let list = try sources.list(suite: "bookworm")
        #expect(!list.contains("vendor") && !list.contains("off.example") && !list.contains("backports"))
        #expect(list.contains("Suites: bookworm bookworm-updates\nComponents: main\nSigned-By: /usr/share"))
        #expect(list.contains("URIs: http://mirror.example/debian-security\nSuites: bookworm-security"))
    }

    @Test func exchangesTheReleaseOnANewerMachine() throws {
        let machine = AptSource.parse(
            oneLine: "deb http://m/debian trixie main\ndeb http://m/debian trixie-updates main")
        let list = try DebianSources(hostCodename: "trixie", sources: machine).list(suite: "bookworm")
        #expect(list.contains("Suites: bookworm\n") && list.contains("Suites: bookworm-updates\n"))
        #expect(!list.contains("trixie"))
    }

    @Test func saysWhatToDoWhereThereIsNoDebian() {
        let machine = AptSource.parse(oneLine: "deb http://m/ubuntu noble main")
        let error = #expect(throws: MartletError.self) {
            try DebianSources(hostCodename: nil, sources: machine).list(suite: "bookworm")
        }
        #expect(error?.code == .failedPrecondition)
        #expect(error?.message.contains("MARTLET_DEBIAN_MIRROR") == true)
        #expect(DebianSources.codename(osRelease: "ID=ubuntu\nVERSION_CODENAME=noble\n") == nil)
        #expect(DebianSources.codename(osRelease: "ID=\"debian\"\nVERSION_CODENAME=bookworm\n") == "bookworm")
    }

    @Test func aGivenMirrorMustBeAnAddress() throws {
        #expect(
            try DebianSources(mirror: "http://m/debian").list(suite: "bookworm").contains("URIs: http://m/debian\n"))
        #expect(throws: MartletError.self) { try DebianSources(mirror: "/etc/passwd").list(suite: "bookworm") }
        #expect(throws: MartletError.self) { try DebianSources(mirror: "http://m\nX: y").list(suite: "bookworm") }
    }
}
