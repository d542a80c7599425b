import ArgumentParser
import SandboxModel

extension IPv4Address: ExpressibleByArgument {
    public init?(argument: String) { self.init(argument) }
}

extension IPv4Prefix: ExpressibleByArgument {
    public init?(argument: String) { self.init(argument) }
}

extension NetworkRule: ExpressibleByArgument {
    public init?(argument: String) { self.init(argument) }
}

extension NetworkPolicy.Mode: ExpressibleByArgument {}
