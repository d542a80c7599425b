import Glibc
import Synchronization

/// The library behind `nft`, loaded when it is first needed, so that the program starts where it is not installed.
///
/// Rules go to the network namespace of the calling thread; a transaction takes effect as a whole or not at all.
final class Nftables: Sendable {
    /// A transaction that was refused, with the library's words.
    struct Failure: Error, Sendable, CustomStringConvertible {
        var reason: String
        var description: String { "nftables: \(reason)" }
    }

    // libnftables(3).
    private typealias Create = @convention(c) (UInt32) -> OpaquePointer?
    private typealias Free = @convention(c) (OpaquePointer?) -> Void
    private typealias Buffer = @convention(c) (OpaquePointer?) -> Int32
    private typealias Text = @convention(c) (OpaquePointer?) -> UnsafePointer<CChar>?
    private typealias Run = @convention(c) (OpaquePointer?, UnsafePointer<CChar>) -> Int32

    private static let file = "libnftables.so.1"
    private let create: Create
    private let free: Free
    private let bufferErrors: Buffer
    private let bufferOutput: Buffer
    private let errors: Text
    private let run: Run
    /// The library keeps tables of its own that threads would share.
    private let turn = Mutex(())

    private static let loaded = Result { () throws(Failure) -> Nftables in try Nftables() }

    /// The library.
    ///
    /// - Throws: `Failure` where it is not installed.
    static func load() throws(Failure) -> Nftables { try loaded.get() }

    private init() throws(Failure) {
        guard let handle = dlopen(Nftables.file, RTLD_NOW | RTLD_LOCAL) else {
            throw Failure(reason: "\(Nftables.file) is not installed")
        }
        func symbol<Function>(_ name: String, _ type: Function.Type) throws(Failure) -> Function {
            guard let address = dlsym(handle, name) else {
                throw Failure(reason: "\(Nftables.file) has no \(name)")
            }
            return unsafeBitCast(address, to: type)
        }
        create = try symbol("nft_ctx_new", Create.self)
        free = try symbol("nft_ctx_free", Free.self)
        bufferErrors = try symbol("nft_ctx_buffer_error", Buffer.self)
        bufferOutput = try symbol("nft_ctx_buffer_output", Buffer.self)
        errors = try symbol("nft_ctx_get_error_buffer", Text.self)
        run = try symbol("nft_run_cmd_from_buffer", Run.self)
    }

    /// Runs a script as one transaction; blocks the thread.
    func apply(_ script: String) throws(Failure) {
        let reason: String? = turn.withLock { _ in
            // A context speaks for the namespace it was made in.
            guard let context = create(0) else { return "no memory, or no permission" }
            defer { free(context) }
            guard bufferErrors(context) == 0, bufferOutput(context) == 0 else { return "no memory" }
            guard run(context, script) != 0 else { return nil }
            return errors(context).map { Nftables.firstLine(of: String(cString: $0)) } ?? "refused"
        }
        if let reason { throw Failure(reason: reason) }
    }

    private static func firstLine(of text: String) -> String {
        let line = text.split(separator: "\n").first.map(String.init) ?? ""
        return line.isEmpty ? "refused" : String(line.prefix(300))
    }
}
