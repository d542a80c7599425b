import CLinux
import Glibc
import LinuxSystem
import SandboxModel

/// What other calls of the runtime ask of the shim: the word to start, and signals.
struct ShimControl: Sendable {
    let listener: Descriptor
    let machine: ContainerMachine
    /// The container's first process in the guest.
    let first: Int32
    let directory: ContainerDirectory
    /// Held while a caller waits for its answer: a program that ends at once does not take the shim with it before
    /// whoever started it knows.
    let answering = AsyncLock()

    /// Answers one caller after another; returns when the container was killed before it was started.
    func serve() async {
        var isStarted = false
        while true {
            let listener = listener
            // A connection that was accepted does not wait by itself: poll(2) does, here and below.
            guard
                let caller = try? await Blocking.run({
                    _ = clinux_poll_one(listener.number, Int16(POLLIN), -1)
                    return Descriptor(
                        owning: try SystemError.check(clinux_accept(listener.number), "accept", "control"))
                })
            else { continue }
            await answering.acquire()
            let read = try? await Blocking.run {
                _ = clinux_poll_one(caller.number, Int16(POLLIN), 5000)
                return try caller.read(upTo: 64)
            }
            let bytes = read ?? []
            let words = String(decoding: bytes, as: UTF8.self).split { $0 == " " || $0 == "\n" }
            var answer = "ok\n"
            var isOver = false
            do {
                switch words.first {
                case "start" where !isStarted:
                    try await machine.start()
                    try directory.markStarted()
                    isStarted = true
                case "signal":
                    guard let number = words.last.flatMap({ Int32($0) }) else { throw Self.nonsense }
                    if isStarted {
                        try await machine.signal(number, to: first)
                    } else {
                        isOver = number == 9 || number == 15
                    }
                default: throw Self.nonsense
                }
            } catch {
                answer = ((error as? MartletError)?.message ?? "\(error)") + "\n"
            }
            let text = Array(answer.utf8)
            try? await Blocking.run { try caller.writeAll(text) }
            await answering.release()
            if isOver { return }
        }
    }

    private static let nonsense = MartletError(.invalidArgument, "nothing the shim knows")
}
