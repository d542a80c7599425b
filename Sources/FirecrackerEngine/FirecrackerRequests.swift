/// What Firecracker's API is told, as its `firecracker.yaml` has it. Paths are those of its own root.
package enum FirecrackerRequest {
    package struct MachineConfiguration: Encodable, Sendable {
        package var vcpuCount: Int
        package var memSizeMib: Int
        package var smt = false

        package init(cpus: Int, memoryMiB: Int) {
            vcpuCount = cpus
            memSizeMib = memoryMiB
        }
    }

    package struct BootSource: Encodable, Sendable {
        package var kernelImagePath: String
        package var initrdPath: String?
        package var bootArgs: String

        package init(kernel: String, initramfs: String?, commandLine: String) {
            kernelImagePath = kernel
            initrdPath = initramfs
            bootArgs = commandLine
        }
    }

    package struct Drive: Encodable, Sendable {
        package var driveId: String
        package var pathOnHost: String
        /// False: our initramfs finds its root by itself.
        package var isRootDevice = false
        package var isReadOnly: Bool
        /// What the guest flushes is flushed.
        package var cacheType = "Writeback"

        package init(_ id: String, path: String, isReadOnly: Bool) {
            driveId = id
            pathOnHost = path
            self.isReadOnly = isReadOnly
        }
    }

    struct DriveUpdate: Encodable {
        var driveId: String
        var pathOnHost: String
    }

    package struct NetworkInterface: Encodable, Sendable {
        package var ifaceId: String
        package var hostDevName: String
        package var guestMac: String

        package init(_ id: String, tap: String, hardwareAddress: String) {
            ifaceId = id
            hostDevName = tap
            guestMac = hardwareAddress
        }
    }

    package struct Vsock: Encodable, Sendable {
        package var guestCid: UInt32
        package var udsPath: String

        package init(guest: UInt32, path: String) {
            guestCid = guest
            udsPath = path
        }
    }

    /// A random number source, without a limit of its own.
    package struct Entropy: Encodable, Sendable {}

    package struct Logger: Encodable, Sendable {
        package var logPath: String
        package var level: String
    }

    struct Action: Encodable { var actionType: String }

    struct State: Encodable { var state: String }

    package struct CreateSnapshot: Encodable, Sendable {
        package var snapshotType = "Full"
        package var snapshotPath: String
        package var memFilePath: String

        package init(state: String, memory: String) {
            snapshotPath = state
            memFilePath = memory
        }
    }

    package struct LoadSnapshot: Encodable, Sendable {
        struct Memory: Encodable, Sendable {
            /// The file is mapped privately: all that load it share its pages until they write.
            var backendType = "File"
            var backendPath: String
        }

        struct Override: Encodable, Sendable {
            var ifaceId: String
            var hostDevName: String
        }

        var snapshotPath: String
        var memBackend: Memory
        var resumeVm: Bool
        var networkOverrides: [Override]?

        /// - Parameter taps: by the id of the card they are the host's end of from now on.
        package init(state: String, memory: String, resumes: Bool, taps: [String: String] = [:]) {
            snapshotPath = state
            memBackend = Memory(backendPath: memory)
            resumeVm = resumes
            if !taps.isEmpty {
                networkOverrides = taps.sorted { $0.key < $1.key }.map {
                    Override(ifaceId: $0.key, hostDevName: $0.value)
                }
            }
        }
    }
}

/// What Firecracker says of itself.
package struct FirecrackerInstance: Decodable, Sendable, Equatable {
    package enum State: String, Decodable, Sendable {
        case notStarted = "Not started"
        case running = "Running"
        case paused = "Paused"
    }

    package var id: String
    package var state: State
    package var vmmVersion: String
}
