import ContainerEngine
import LinuxSystem
import SandboxModel

/// Captures a container by `runsc checkpoint`, which leaves it as it was, also when it refuses.
struct GVisorCapture: ContainerCapture {
    let command: GVisorCommand

    /// What runsc calls the files of a checkpoint.
    static let stateName = "checkpoint.img"
    static let memoryName = "pages.img"

    func halt() async throws {
        if let problem = try await command.run("pause") {
            throw MartletError(.unavailable, "capture: gVisor does not stop the sandbox: \(problem)")
        }
    }

    func save(into directory: String) async throws -> (state: String, memory: String) {
        let problem = try await command.run(
            "checkpoint", ["--image-path", directory, "--leave-running", "--compression", "none"])
        if let problem { throw GVisorCapture.refusal(problem) }
        return ("\(directory)/\(GVisorCapture.stateName)", "\(directory)/\(GVisorCapture.memoryName)")
    }

    func proceed() async throws {
        guard let problem = try await command.run("resume") else { return }
        // A halt that did not come to be leaves nothing to be let go on.
        if problem.contains("running") { return }
        throw MartletError(.unavailable, "capture: gVisor does not let the sandbox go on: \(problem)")
    }

    /// What a client is told when gVisor cannot save a sandbox in the state it is in.
    static func refusal(_ problem: String) -> MartletError {
        let advice: String
        if problem.contains("cannot be saved in connected state") {
            advice = "; connections to outside cannot be saved: close them and try again, up to a minute after the last"
        } else if problem.contains("deleted") {
            advice = "; a file that was deleted and is still open cannot be saved: close it and try again"
        } else {
            advice = ""
        }
        return MartletError(
            .failedPrecondition,
            "capture: gVisor cannot save the sandbox as it is, and it goes on: \(problem)\(advice)",
            details: ["engine": GVisorEngine.engineName, "reason": "unsavable"])
    }
}
