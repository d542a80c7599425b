/// A step of shutting a process in that failed: which, on what, why.
public struct JailFailure: Error, Sendable, Equatable, CustomStringConvertible {
    public var step: String
    public var object: String
    public var reason: String

    public init(step: String, object: String, reason: String) {
        self.step = step
        self.object = object
        self.reason = reason
    }

    public var description: String { "jail: \(step): \(object): \(reason)" }
}
