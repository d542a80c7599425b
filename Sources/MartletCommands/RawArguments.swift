import SandboxModel

/// The arguments as the kernel handed them over.
enum RawArguments {
    /// The arguments after the program's name.
    ///
    /// - Throws: `invalid_argument` when one is not valid UTF-8: Swift would replace the bytes, and another command than
    ///   the one that was typed would run.
    static func checked() throws(MartletError) -> [String] {
        var arguments: [String] = []
        // SAFETY: argv holds argc pointers to zero-terminated strings that live as long as the process.
        for index in 1..<max(1, Int(CommandLine.argc)) {
            guard let pointer = CommandLine.unsafeArgv[index] else { break }
            guard let argument = String(validatingCString: pointer) else {
                throw MartletError.invalid(
                    "argument \(index)",
                    "'\(Printable.line(String(cString: pointer)))' is not valid UTF-8; pass such bytes through "
                        + "standard input or a file")
            }
            arguments.append(argument)
        }
        return arguments
    }
}
