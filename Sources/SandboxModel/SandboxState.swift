/// Where a sandbox is in its life; `canBecome` is the whole state machine.
public enum SandboxState: String, Sendable, CaseIterable, Codable {
    case creating, running, pausing, paused, resuming, stopping, stopped, failed

    /// Whether the step from this state to `next` is allowed.
    public func canBecome(_ next: SandboxState) -> Bool {
        switch (self, next) {
        case (.creating, .running), (.creating, .stopping), (.creating, .failed): true
        case (.running, .pausing), (.running, .stopping), (.running, .failed): true
        case (.pausing, .paused), (.pausing, .running), (.pausing, .stopping), (.pausing, .failed): true
        case (.paused, .resuming), (.paused, .stopping), (.paused, .failed): true
        case (.resuming, .running), (.resuming, .paused), (.resuming, .stopping), (.resuming, .failed): true
        case (.stopping, .stopped), (.stopping, .failed): true
        case (.failed, .stopping), (.failed, .stopped): true
        default: false
        }
    }

    /// Whether the sandbox still holds host resources (a process, memory, files).
    public var isLive: Bool {
        switch self {
        case .creating, .running, .pausing, .paused, .resuming, .stopping: true
        case .stopped, .failed: false
        }
    }
}
