import Testing

@testable import FirecrackerEngine

@Suite struct JailerArgumentsTests {
    private let arguments = JailerArguments(
        jailer: "/opt/jailer", program: "/opt/firecracker", id: "m-1", user: 1_879_048_200, base: "/data/m-1/jail",
        largestFile: 1 << 30)

    @Test func areWhatTheJailerTakes() {
        #expect(
            arguments.vector == [
                "/opt/jailer", "--id", "m-1", "--exec-file", "/opt/firecracker", "--uid", "1879048200", "--gid",
                "1879048200", "--chroot-base-dir", "/data/m-1/jail", "--resource-limit", "no-file=1024",
                "--resource-limit", "fsize=1073741824", "--", "--api-sock", "/api.sock", "--log-path",
                "/firecracker.log", "--level", "Warn",
            ])
    }

    @Test func nameTheRootTheJailerMakes() { #expect(arguments.root == "/data/m-1/jail/firecracker/m-1/root") }

    @Test(arguments: ["", "../up", "a b", "a/b", "a.b", String(repeating: "a", count: 65), "é"])
    func refuseIDs(_ id: String) { #expect(!JailerArguments.isID(id)) }

    @Test func takeIDs() {
        #expect(JailerArguments.isID("sb-1aZ") && JailerArguments.isID(String(repeating: "a", count: 64)))
    }
}
