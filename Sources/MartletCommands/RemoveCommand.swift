import ArgumentParser
import MartletAPI
import MartletClient
import SandboxModel

/// Ends sandboxes.
struct RemoveCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "rm", abstract: "End sandboxes and remove all they held.", aliases: ["kill"])

    @Argument(help: "Ids or names of the sandboxes.")
    var sandboxes: [String] = []

    @Flag(name: [.short, .long], help: "All of them.")
    var all = false

    @Flag(name: [.short, .long], help: "One that is not there is no error.")
    var force = false

    func validate() throws {
        guard all != !sandboxes.isEmpty else {
            throw ValidationError(all ? "Give either --all or ids, not both" : "Missing the ids of sandboxes, or --all")
        }
    }

    func run() async throws {
        let failures = try await Session.with { client in
            let ids = all ? try await client.allSandboxes().map(\.id) : sandboxes
            return await remove(ids, client)
        }
        guard let first = failures.first else { return }
        for failure in failures { Console.complain(failure) }
        throw ExitCode(ExitStatus.code(for: first))
    }

    /// Removes a few at a time; prints each id that is gone.
    private func remove(_ ids: [String], _ client: MartletClient) async -> [MartletError] {
        await withTaskGroup(of: MartletError?.self) { group in
            var failures: [MartletError] = []
            for (index, id) in ids.enumerated() {
                if index >= 8, let failure = await group.next() ?? nil { failures.append(failure) }
                group.addTask { await remove(id, client) }
            }
            for await failure in group { if let failure { failures.append(failure) } }
            return failures
        }
    }

    private func remove(_ id: String, _ client: MartletClient) async -> MartletError? {
        do {
            try await client.deleteSandbox(id)
            Console.print(id)
            return nil
        } catch let error as MartletError {
            // With --all, what ended between the list and now is what was wanted.
            return error.code == .notFound && (force || all) ? nil : error
        } catch {
            return MartletError(.internal, "rm: \(id): \(error)")
        }
    }
}
