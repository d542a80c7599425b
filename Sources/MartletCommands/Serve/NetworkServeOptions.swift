import ArgumentParser
import SandboxModel

/// The options of `serve` about the networks of sandboxes.
struct NetworkServeOptions: ParsableArguments {
    @Option(name: .long, help: "Range of 65,536 addresses for sandboxes (the first free one from 10.201.0.0/16 on).")
    var networkSubnet: IPv4Prefix?

    @Option(
        name: .long,
        help: "Private address or range, with :PORTS if need be, that policies may let sandboxes reach. Repeatable.")
    var networkOpen: [NetworkRule] = []

    @Option(name: .long, help: "Name server that sandboxes' look-ups go to (the host's own). Repeatable.")
    var networkDns: [IPv4Address] = []

    @Option(name: .long, help: "What a sandbox may reach that asks for nothing: none or public (none).")
    var networkDefault: NetworkPolicy.Mode?

    @Flag(name: .long, help: "Give sandboxes no networks at all.")
    var noNetwork = false

    @Flag(name: .long, help: "Let sandboxes out under their own addresses; the subnet must be routed to this host.")
    var networkRouted = false

    @Option(name: .long, help: "Networks made ahead of demand (16).")
    var networkPool: Int?

    @Option(name: .long, help: "PEM file of authorities to trust for hosts with secrets, besides the system's.")
    var networkTrustRoots: String?
}
