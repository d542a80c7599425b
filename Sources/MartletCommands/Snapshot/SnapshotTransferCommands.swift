import ArgumentParser
import Glibc
import LinuxSystem
import MartletAPI
import MartletClient
import NIOCore
import SandboxModel

/// Writes a snapshot to a file.
struct SnapshotExportCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "export", abstract: "Write a snapshot to one compressed file, for another machine.",
        discussion: "The file shows under its name when it is whole.")

    @Argument(help: "Id or name of the snapshot.")
    var snapshot: String

    @Option(
        name: [.customShort("O"), .customLong("output-file")],
        help: "File to write, or '-' for standard output; SNAPSHOT.martlet if absent.")
    var file: String?

    @Flag(name: [.short, .long], help: "Show no progress.")
    var quiet = false

    func validate() throws {
        if file == "" { throw ValidationError("The file's name is empty") }
    }

    func run() async throws {
        let target = file ?? snapshot + ".martlet"
        if target == "-", Console.outputIsTerminal {
            throw ValidationError("The export is no text: give a file with -O, or send it to another program")
        }
        let progress = ProgressLine(isOn: !quiet, showsElapsed: true)
        defer { progress.finish() }
        try await Session.with { client in
            let export = try await client.exportSnapshot(snapshot)
            progress.begin(snapshot, total: nil)
            if target == "-" {
                for try await piece in export {
                    try await OutputWriter.standardOutput.write(Array(piece.readableBytesView))
                    progress.add(piece.readableBytes)
                }
            } else {
                try await write(export, to: target, progress)
            }
        }
    }

    private func write(_ export: FileDownload, to target: String, _ progress: ProgressLine) async throws {
        let slash = target.lastIndex(of: "/")
        let parent = slash.map { $0 == target.startIndex ? "/" : String(target[..<$0]) } ?? "."
        let name = slash.map { String(target[target.index(after: $0)...]) } ?? target
        let pending: PendingFile
        do {
            pending = try HostDirectory.open(parent).file(name)
        } catch let error as SystemError {
            throw MartletError(.invalidArgument, "export: \(target): \(String(cString: strerror(error.errno)))")
        }
        var count: UInt64 = 0
        do {
            for try await piece in export {
                try await Blocking.run { try pending.file.writeAll(Array(piece.readableBytesView)) }
                count += UInt64(piece.readableBytes)
                progress.add(piece.readableBytes)
            }
            _ = try await Blocking.run { try SystemError.check(fsync(pending.file.number), "fsync", name) }
        } catch {
            pending.discard()
            throw error
        }
        try pending.finish(mode: 0o600)
        progress.finish()
        Console.print(target)
        if !quiet { Console.note("\(Format.bytes(count)) written") }
    }
}

/// Takes a snapshot from a file.
struct SnapshotImportCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "import", abstract: "Take in a snapshot that was exported, and print its id.")

    @Argument(help: "File to read, or '-' for standard input.")
    var file: String

    @Option(name: .long, help: "A name for the snapshot, to be used in place of its id.")
    var name: String?

    @Flag(name: [.short, .long], help: "Show no progress.")
    var quiet = false

    @OptionGroup var output: OutputOptions

    func run() async throws {
        let progress = ProgressLine(isOn: !quiet, showsElapsed: true)
        defer { progress.finish() }
        let (descriptor, size) = try open()
        progress.begin(file == "-" ? "import" : file, total: size)
        let taken = try await Session.with { client in
            try await client.importSnapshot(
                HostFileReader(descriptor: descriptor, progress: progress), size: size, name: name)
        }
        progress.finish()
        try output.show(taken) { taken.id }
    }

    private func open() throws -> (Descriptor, UInt64?) {
        guard file != "-" else { return (Descriptor(owning: dup(0)), nil) }
        let descriptor: Descriptor
        do {
            descriptor = try Descriptor.open(file, O_RDONLY)
        } catch {
            throw MartletError(.invalidArgument, "import: \(file): \(String(cString: strerror(error.errno)))")
        }
        var facts = stat()
        guard fstat(descriptor.number, &facts) == 0, facts.st_mode & S_IFMT == S_IFREG else { return (descriptor, nil) }
        return (descriptor, UInt64(facts.st_size))
    }
}
