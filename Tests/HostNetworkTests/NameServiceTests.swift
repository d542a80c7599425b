import SandboxModel
import Testing

@testable import HostNetwork

@Suite(.serialized, .timeLimit(.minutes(2))) struct NameServiceTests {
    private static func allow(_ rules: String..., servers: [IPv4]? = nil) -> SandboxNetwork {
        SandboxNetwork(
            policy: NetworkPolicy(
                mode: .allowlist, allow: rules.map { NetworkRule($0[...])! },
                dns: servers.map { NetworkPolicy.Names(servers: $0) }))
    }

    @Test func anAllowedNameIsAnsweredFromTheNameServer() async throws {
        try await ProxyRig.with(Self.allow("good.test")) { rig in
            rig.nameServer.set("good.test", .init(addresses: ["20.0.0.1", "20.0.0.2"], seconds: 100_000))
            let answer = try await rig.lookUp("good.test")
            #expect(answer.code == .noError)
            #expect(answer.addresses == [IPv4("20.0.0.1"), IPv4("20.0.0.2")])
            #expect(answer.seconds == 300)
            _ = try await rig.lookUp("good.test")
            #expect(rig.nameServer.questions == ["good.test"])
            #expect(rig.world.denials.isEmpty)
        }
    }

    @Test func aNameThatIsNotAllowedIsNeitherAnsweredNorAskedFor() async throws {
        try await ProxyRig.with(Self.allow("good.test", "*.wild.test")) { rig in
            for name in ["evil.test", "sub.good.test", "wild.test", "good.test.evil.test", "data-0123.tunnel.test"] {
                let got1 = try await rig.lookUp(name).code
                #expect(got1 == .noSuchName)
            }
            #expect(rig.nameServer.questions.isEmpty)
            #expect(rig.world.refusals.first == "lookup-not-allowed evil.test")
            #expect(rig.world.denials.count == 5 && rig.world.denials.allSatisfy { $0.kind == .lookup })
        }
    }

    @Test func lettersCaseAndADotAtTheEndMakeNoOtherName() async throws {
        try await ProxyRig.with(Self.allow("good.test")) { rig in
            rig.nameServer.set("good.test", .init(addresses: ["20.0.0.1"]))
            let answer = try await DNSClient.exchange(port: rig.dnsPort, DNSClient.query("GoOd.TEST"))
            // The question comes back as it was asked.
            #expect(String(decoding: answer[13..<17], as: UTF8.self) == "GoOd")
            #expect(answer[7] == 1)
        }
    }

    @Test(arguments: [DNSType.aaaa, DNSType.https, DNSType.svcb])
    func whatWouldLeadAroundAddressesIsEmpty(type: UInt16) async throws {
        try await ProxyRig.with(Self.allow("good.test")) { rig in
            let answer = try await rig.lookUp("good.test", type: type)
            #expect(answer.code == .noError && answer.addresses.isEmpty)
            #expect(rig.nameServer.questions.isEmpty && rig.world.denials.isEmpty)
        }
    }

    @Test(arguments: [16, 15, 12, 255, 10] as [UInt16])
    func otherTypesCarryNothing(type: UInt16) async throws {
        try await ProxyRig.with(Self.allow("good.test")) { rig in
            let answer = try await rig.lookUp("good.test", type: type)
            #expect(answer.code == .noError && answer.addresses.isEmpty)
            #expect(rig.nameServer.questions.isEmpty)
            #expect(rig.world.refusals == ["lookup-type good.test"])
        }
    }

    @Test func whereNamesDecideNothingOtherTypesArePassedOn() async throws {
        try await ProxyRig.with(SandboxNetwork(policy: NetworkPolicy(mode: .public))) { rig in
            // The test's server answers with addresses, whatever it is asked for.
            rig.nameServer.set("good.test", .init(addresses: ["20.0.0.1"]))
            let answer = try await DNSClient.exchange(port: rig.dnsPort, DNSClient.query("GOOD.test", type: 16, id: 99))
            #expect(answer[1] == 99 && answer[7] == 1)
            #expect(String(decoding: answer[13..<17], as: UTF8.self) == "GOOD")
            rig.nameServer.set("long.test", .init(addresses: (1...60).map { "20.0.1.\($0)" }))
            let long = try await DNSClient.exchange(port: rig.dnsPort, DNSClient.query("long.test", type: 33))
            #expect(long[2] & 2 != 0 && long.count <= 512)
            let all = try await DNSClient.exchange(port: rig.dnsPort, DNSClient.query("good.test", type: 255))
            #expect(all[7] == 0 && rig.world.denials.isEmpty)
        }
    }

    @Test func aliasesAreFlattenedAndNeedNotBeAllowed() async throws {
        try await ProxyRig.with(Self.allow("good.test")) { rig in
            rig.nameServer.set("good.test", .init(addresses: ["20.0.0.9"], alias: "edge.cdn.test"))
            let answer = try await rig.lookUp("good.test")
            #expect(answer.addresses == [IPv4("20.0.0.9")])
            let got2 = try await rig.lookUp("edge.cdn.test").code
            #expect(got2 == .noSuchName)
        }
    }

    @Test(arguments: ["127.0.0.1", "10.1.2.3", "169.254.169.254", "192.168.0.1", "100.64.0.1"])
    func addressesOutOfReachAreWithheld(address: String) async throws {
        try await ProxyRig.with(Self.allow("good.test")) { rig in
            rig.nameServer.set("good.test", .init(addresses: [address, "20.0.0.1"]))
            let got3 = try await rig.lookUp("good.test").addresses
            #expect(got3 == [IPv4("20.0.0.1")])
            rig.nameServer.set("good.test", .init(addresses: [address]))
            #expect(rig.world.denials.map(\.rule) == ["rebinding"])
            #expect(rig.world.denials.first?.address == address)
        }
    }

    @Test func whatTheOperatorHasOpenedIsAnswered() async throws {
        try await ProxyRig.with(Self.allow("good.test")) { rig in
            rig.world.open("10.1.2.3")
            rig.nameServer.set("good.test", .init(addresses: ["10.1.2.3"]))
            let got4 = try await rig.lookUp("good.test").addresses
            #expect(got4 == [IPv4("10.1.2.3")])
        }
    }

    @Test func aTruncatedAnswerIsAskedForAgainOverTCP() async throws {
        try await ProxyRig.with(Self.allow("good.test")) { rig in
            let many = (1...60).map { "20.0.1.\($0)" }
            rig.nameServer.set("good.test", .init(addresses: many, isTruncated: true))
            let answer = try await rig.lookUp("good.test")
            #expect(rig.nameServer.questions == ["good.test", "tcp:good.test"])
            // As many as fit into a datagram.
            #expect(answer.addresses.count == (512 - 12 - 15) / 16)
        }
    }

    @Test func forgedAnswersAreNotHeard() async throws {
        try await ProxyRig.with(Self.allow("good.test")) { rig in
            rig.nameServer.set("good.test", .init(addresses: ["20.0.0.1"], isForgedFirst: true))
            let got5 = try await rig.lookUp("good.test").addresses
            #expect(got5 == [IPv4("20.0.0.1")])
        }
    }

    @Test func aSilentServerIsAFailureInTime() async throws {
        try await ProxyRig.with(Self.allow("good.test")) { rig in
            rig.nameServer.set("good.test", .init(isSilent: true))
            let got6 = try await rig.lookUp("good.test").code
            #expect(got6 == .serverFailure)
            #expect(rig.nameServer.questions.count == 2)
        }
    }

    @Test func thePolicysServersAreAskedFromInsideTheSlot() async throws {
        try await ProxyRig.with(Self.allow("good.test", servers: [IPv4(127, 0, 0, 1)])) { rig in
            rig.nameServer.set("good.test", .init(addresses: ["20.0.0.1"]))
            let got7 = try await rig.lookUp("good.test").addresses
            #expect(got7 == [IPv4("20.0.0.1")])
            #expect(rig.world.datagramSockets == 1)
        }
    }

    @Test func lookupsAreBounded() async throws {
        try await ProxyRig.with(Self.allow("*.good.test")) { rig in
            // Each a new name, as a tunnel would ask.
            var failures = 0
            for number in 0..<(NameService.outboundBurst + 100) {
                if try await rig.lookUp("d\(number).good.test").code == .serverFailure { failures += 1 }
            }
            #expect(failures > 0)
            #expect(rig.world.denials.contains { $0.rule == "lookup-rate" })
            #expect(rig.nameServer.questions.count < Int(NameService.outboundBurst) + 100)
        }
    }

    @Test func modeNoneAnswersNothing() async throws {
        try await ProxyRig.with(.closed) { rig in
            rig.nameServer.set("good.test", .init(addresses: ["20.0.0.1"]))
            let stream = try await Peer.connect(port: rig.dnsStreamPort)
            try await stream.send([0, 27] + DNSClient.query("good.test"))
            try await rig.proxy.apply(Self.allow("good.test"))
            // The first is never answered; the second, behind it on another socket, is.
            let got8 = try await rig.lookUp("good.test").code
            #expect(got8 == .noError)
            await stream.close()
            #expect(rig.nameServer.questions == ["good.test"])
        }
    }

    @Test func severalQuestionsOnOneConnectionAreAnsweredInOrder() async throws {
        try await ProxyRig.with(Self.allow("good.test")) { rig in
            rig.nameServer.set("good.test", .init(addresses: ["20.0.0.1"]))
            let stream = try await Peer.connect(port: rig.dnsStreamPort)
            var frames: [UInt8] = []
            for id in 1...20 as ClosedRange<UInt16> {
                let query = DNSClient.query(id % 2 == 0 ? "good.test" : "evil.test", id: id)
                frames += [0, UInt8(query.count)] + query
            }
            try await stream.send(frames)
            for id in 1...20 as ClosedRange<UInt16> {
                let length = try await stream.read(2)
                let answer = try await stream.read(Int(length[0]) << 8 | Int(length[1]))
                #expect(UInt16(answer[1]) == id)
                #expect(answer[3] & 15 == (id % 2 == 0 ? 0 : 3))
            }
            await stream.close()
        }
    }

    @Test func aReasonIsGivenToWhoCanReadIt() async throws {
        try await ProxyRig.with(Self.allow("good.test")) { rig in
            let answer = try await DNSClient.exchange(
                port: rig.dnsPort, DNSClient.query("evil.test", extensions: true))
            #expect(String(decoding: answer, as: UTF8.self).contains("lookup-not-allowed"))
        }
    }
}
