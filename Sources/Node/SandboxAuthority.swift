import HostNetwork
import SandboxModel

/// Makes certificate authorities for sandboxes with secrets.
package enum SandboxAuthority {
    package static func make(for id: SandboxID) throws -> NetworkAuthority {
        try NetworkAuthority.make(for: id)
    }
}
