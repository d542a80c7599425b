import LinuxSystem

/// How the host speaks with the agent of a container.
package enum ContainerChannel: String, Sendable, Codable {
    /// The agent is given a listening socket, and the host connects to it.
    case socket
    /// The agent reads from one pipe and writes to another. A container that goes on from a capture is given others in
    /// their place.
    case pipes
}

/// The pipes between the host and the agent of a container, in its machine's directory.
package struct GuestPipes: Sendable {
    /// Frames that fill neither wait for the other side.
    private static let capacity: Int32 = 1 << 20
    /// What the agent reads from.
    package var input: Descriptor
    /// What it writes to.
    package var output: Descriptor

    private static func inputPath(_ directory: String) -> String { "\(directory)/guest.in" }
    private static func outputPath(_ directory: String) -> String { "\(directory)/guest.out" }

    /// Makes them, for the container to be started with.
    static func make(in directory: String) throws(SystemError) -> GuestPipes {
        GuestPipes(
            input: try NamedPipe.make(inputPath(directory), capacity: capacity),
            output: try NamedPipe.make(outputPath(directory), capacity: capacity))
    }

    /// The host's ends.
    ///
    /// - Throws: `ENXIO` when the container has ended.
    static func open(in directory: String) throws(SystemError) -> (reading: Descriptor, writing: Descriptor) {
        let writing = try NamedPipe.openWriting(inputPath(directory))
        return (try NamedPipe.openReading(outputPath(directory)), writing)
    }

    /// Gives up the container's ends: once it has them, their end is its own.
    package func close() {
        input.close()
        output.close()
    }
}
