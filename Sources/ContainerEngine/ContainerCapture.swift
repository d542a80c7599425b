/// What an engine knows of capturing its containers.
package protocol ContainerCapture: Sendable {
    /// Stops everything in it; what it wrote is with the host's kernel then.
    func halt() async throws

    /// Writes its memory, and all its kernel knows, into a directory; it is halted, and stays so.
    ///
    /// - Returns: the files: first what the restore begins with, then the pages of memory.
    func save(into directory: String) async throws -> (state: String, memory: String)

    /// Lets it go on. One that was not halted goes on as it is.
    func proceed() async throws
}
