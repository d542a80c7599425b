import ArgumentParser

/// Prints a completion script.
struct CompletionCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "completion", abstract: "Print a completion script for bash, zsh or fish.",
        discussion: """
            bash: martlet completion bash > /etc/bash_completion.d/martlet
            zsh:  martlet completion zsh > "${fpath[1]}/_martlet"
            fish: martlet completion fish > ~/.config/fish/completions/martlet.fish
            """)

    enum Shell: String, ExpressibleByArgument, CaseIterable {
        case bash, zsh, fish
    }

    @Argument(help: "bash, zsh or fish.")
    var shell: Shell

    func run() throws {
        let kind: CompletionShell =
            switch shell {
            case .bash: .bash
            case .zsh: .zsh
            case .fish: .fish
            }
        Console.print(MartletCommand.completionScript(for: kind))
    }
}
