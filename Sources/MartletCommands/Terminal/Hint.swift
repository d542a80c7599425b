import SandboxModel

/// What a user can do about an error, where that is known.
enum Hint {
    static func text(for error: MartletError) -> String? {
        let message = error.message.lowercased()
        switch error.code {
        case .unauthenticated: return "set MARTLET_API_KEY, or run 'martlet env' on the server's machine to see it"
        // Where the message says it itself, a hint would only repeat it.
        case _ where message.contains("martlet "): return nil
        case .failedPrecondition where message.contains("qemu"), .unsupported:
            return "'martlet doctor' tells what this machine can do and what is missing"
        case .notFound where message.contains("template"): return "'martlet template ls' shows which there are"
        case .notFound where error.details["checkpoint"] != nil: return "'martlet tree' shows which there are"
        case .notFound where message.contains("snapshot"): return "'martlet snapshot ls' shows which there are"
        case .failedPrecondition where error.details["state"] == SandboxState.paused.rawValue:
            return "'martlet resume' lets it go on"
        case .notFound where message.contains("sandbox"): return "'martlet ls' shows which there are"
        case .resourceExhausted: return "end sandboxes that are not needed with 'martlet rm', or see 'martlet doctor'"
        case .internal: return "the daemon's log tells more; 'martlet doctor' shows where it is"
        default: return nil
        }
    }
}
