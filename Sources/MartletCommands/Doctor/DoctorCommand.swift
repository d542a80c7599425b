import ArgumentParser
import MartletClient

/// Checks whether this machine can run sandboxes.
struct DoctorCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "doctor", abstract: "Check what this machine can do, and say how to mend what is missing.",
        discussion: "The exit code is 1 if something that is required is missing.")

    @OptionGroup var output: OutputOptions

    func run() async throws {
        let examination = Examination(
            installation: Installation(environment: Session.environment), data: Session.data,
            environment: Session.environment)
        let report = await examination.report()
        try output.show(report) { report.text(colour: Style.isOnForOutput) }
        if !report.isHealthy { throw ExitCode(1) }
    }
}
