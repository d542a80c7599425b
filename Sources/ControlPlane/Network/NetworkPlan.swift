import MartletAPI
import SandboxModel

/// What is wanted of a sandbox's network: checked, everything within its bounds.
struct NetworkPlan: Sendable {
    /// nil: that of what it is made from, or else the host's default.
    var policy: NetworkPolicy?
    var secrets: [PlannedSecret]
    /// Whether it has the secrets of the sandbox it is forked from, too.
    var inheritsSecrets: Bool

    /// - Throws: `invalid_argument` naming the field, `permission_denied`.
    init(
        policy: NetworkPolicy?, secrets: [SecretRequest]?, inheritsSecrets: Bool? = nil, env: [String: String]?,
        caller: Caller, configuration: ControlPlaneConfiguration
    ) throws(MartletError) {
        try policy?.check()
        self.policy = policy
        let check = SecretCheck(
            environment: env ?? [:], variables: configuration.secretVariables, caller: caller)
        self.secrets = try check.checked(secrets ?? [])
        self.inheritsSecrets = inheritsSecrets ?? false
    }
}

extension [SecretRequest] {
    /// The same with values that tell nothing of them, to tell one request from another.
    func blinded(by fingerprint: (String) async throws -> String) async throws -> [SecretRequest] {
        var blinded = self
        for index in blinded.indices {
            guard let value = blinded[index].valueFrom.value else { continue }
            blinded[index].valueFrom.value = try await fingerprint(value)
        }
        return blinded
    }
}
