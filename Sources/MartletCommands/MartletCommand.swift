import ArgumentParser

/// The root of all verbs.
struct MartletCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "martlet",
        abstract: "Runs code nobody has vetted in microVMs on machines you own.",
        discussion: """
            Exit codes of run and exec are the program's own; 124: its time was over, \
            125: a failure of ours, 126: it cannot be executed, 127: there is no such \
            program, 128+n: signal n ended it.
            """,
        version: MartletVersion.number,
        groupedSubcommands: [
            CommandGroup(
                name: "Sandboxes",
                subcommands: [
                    RunCommand.self, CreateCommand.self, ExecCommand.self, ShellCommand.self, ListCommand.self,
                    GetCommand.self, CopyCommand.self, RemoveCommand.self, LogsCommand.self, MetricsCommand.self,
                ]),
            CommandGroup(
                name: "Snapshots and forks",
                subcommands: [
                    PauseCommand.self, ResumeCommand.self, SnapshotCommand.self, ForkCommand.self, RewindCommand.self,
                    TreeCommand.self,
                ]),
            CommandGroup(
                name: "Networks", subcommands: [NetworkCommand.self, PortCommand.self, PortForwardCommand.self]),
            CommandGroup(name: "Templates", subcommands: [TemplateCommand.self]),
            CommandGroup(
                name: "This machine",
                subcommands: [
                    ServeCommand.self, DoctorCommand.self, BenchCommand.self, EnvCommand.self, VersionCommand.self,
                    CompletionCommand.self,
                ]),
        ])
}
