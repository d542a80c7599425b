import CLinux
import Foundation
import LinuxSystem

/// A network namespace with a tap in it.
enum TapNamespace {
    static func make(tap: String) async throws -> Descriptor {
        try await withCheckedThrowingContinuation { continuation in
            // Namespaces belong to threads: this one ends with its.
            Thread.detachNewThread {
                continuation.resume(
                    with: Result {
                        let namespace = try NetworkNamespace.enterNew()
                        // It stays in the namespace, free for whoever opens it next.
                        Descriptor(owning: try SystemError.check(clinux_tap_open(tap), "open tap", tap)).close()
                        return namespace
                    })
            }
        }
    }
}
