import Dispatch
import SandboxModel

extension SQLiteStore: SecretStore {
    package func seal(_ secrets: SandboxSecrets, for id: SandboxID) async throws -> SealedSecrets {
        try await withVault { try $0.seal(secrets, for: id) }
    }

    package func unseal(_ sealed: SealedSecrets, for id: SandboxID) async throws -> SandboxSecrets {
        try await withVault { try $0.unseal(sealed, for: id) }
    }

    package func fingerprint(ofSecret value: String) async throws -> String {
        try await withVault { try $0.fingerprint(of: value) }
    }

    /// Away from the threads that serve async code: the key is in a file, and a new one is flushed to the disk.
    private func withVault<T: Sendable>(_ work: @escaping @Sendable (SecretVault) throws -> T) async throws -> T {
        let vault = vault
        return try await withCheckedThrowingContinuation { continuation in
            DispatchQueue.global(qos: .userInitiated).async {
                continuation.resume(with: Result { try work(vault) })
            }
        }
    }
}
