import SandboxModel

extension SandboxResource {
    /// Reads what a server says of a sandbox. A server from before a field was there does not send it, and has what its
    /// absence means: daemons outlive an upgrade of the program that asks them.
    public init(from decoder: any Decoder) throws {
        let values = try decoder.container(keyedBy: CodingKeys.self)
        self.init(
            id: try values.decode(String.self, forKey: .id),
            name: try values.decodeIfPresent(String.self, forKey: .name),
            template: try values.decode(String.self, forKey: .template),
            state: try values.decode(SandboxState.self, forKey: .state),
            stateReason: try values.decodeIfPresent(String.self, forKey: .stateReason),
            isolation: try values.decode(Isolation.self, forKey: .isolation),
            cpus: try values.decode(Int.self, forKey: .cpus),
            memoryMiB: try values.decode(Int.self, forKey: .memoryMiB),
            diskMiB: try values.decode(Int.self, forKey: .diskMiB),
            createdAt: try values.decode(Timestamp.self, forKey: .createdAt),
            expiresAt: try values.decodeIfPresent(Timestamp.self, forKey: .expiresAt),
            onTimeout: try values.decodeIfPresent(TimeoutAction.self, forKey: .onTimeout) ?? .kill,
            metadata: try values.decode([String: String].self, forKey: .metadata),
            parent: try values.decodeIfPresent(String.self, forKey: .parent),
            fromSnapshot: try values.decodeIfPresent(String.self, forKey: .fromSnapshot),
            record: try values.decodeIfPresent(Bool.self, forKey: .record) ?? false,
            pausedAt: try values.decodeIfPresent(Timestamp.self, forKey: .pausedAt),
            capture: try values.decodeIfPresent(CaptureReport.self, forKey: .capture),
            create: try values.decodeIfPresent(CreateReport.self, forKey: .create),
            network: try values.decodeIfPresent(NetworkPolicy.self, forKey: .network),
            secrets: try values.decodeIfPresent([SecretSummary].self, forKey: .secrets))
    }
}
