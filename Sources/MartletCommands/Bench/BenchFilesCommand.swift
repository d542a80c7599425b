import ArgumentParser
import MartletBench

/// How fast files go in and out.
struct BenchFilesCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "files", abstract: "Uploading and downloading, and the daemon's memory meanwhile.")

    @Option(name: [.customShort("n"), .long], help: "Transfers of the large file each way.")
    var runs = 3

    @Option(name: .long, help: "Size of the large file, such as 256m or 1g.")
    var size: MebibytesArgument?

    @Option(name: .long, help: "How many files of 1 KiB.")
    var smallFiles = 200

    @OptionGroup var options: BenchOptions

    /// The large file's size unless another is asked for.
    static let defaultSizeMiB = 256

    func validate() throws {
        guard (0...100_000).contains(smallFiles) else {
            throw ValidationError("--small-files \(smallFiles) is outside 0...100000")
        }
        guard (1...65_536).contains(size?.count ?? Self.defaultSizeMiB) else {
            throw ValidationError("--size is outside 1m...64g")
        }
    }

    func run() async throws {
        try await BenchSession.run(options, runs: runs) { [size, smallFiles] context in
            try await FilesBenchmark(
                context: context, sizeMiB: size?.count ?? Self.defaultSizeMiB, smallFiles: smallFiles
            ).run()
        }
    }
}
