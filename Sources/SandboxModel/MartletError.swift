/// The one error type that crosses module borders: what failed, on which object, why, and what to do.
public struct MartletError: Error, Sendable, Equatable, CustomStringConvertible {
    /// What kind of failure this is; each code has exactly one HTTP status and one CLI exit code.
    public enum Code: String, Sendable, CaseIterable {
        case invalidArgument = "invalid_argument"
        case unauthenticated = "unauthenticated"
        case permissionDenied = "permission_denied"
        case notFound = "not_found"
        case conflict = "conflict"
        case failedPrecondition = "failed_precondition"
        case tooLarge = "too_large"
        case resourceExhausted = "resource_exhausted"
        case unsupported = "unsupported"
        case unavailable = "unavailable"
        case timeout = "timeout"
        case `internal` = "internal"

        /// The HTTP status the API answers with.
        public var httpStatus: Int {
            switch self {
            case .invalidArgument: 400
            case .unauthenticated: 401
            case .permissionDenied: 403
            case .notFound: 404
            case .conflict: 409
            case .failedPrecondition: 412
            case .tooLarge: 413
            case .resourceExhausted: 429
            case .unsupported: 501
            case .unavailable: 503
            case .timeout: 504
            case .internal: 500
            }
        }

        /// The exit code of the CLI for this error, as docker's: 125 for every failure of ours but a time-out.
        public var exitCode: Int32 {
            switch self {
            case .timeout: 124
            default: 125
            }
        }
    }

    public var code: Code
    public var message: String
    public var details: [String: String]

    /// Makes an error; `message` reads "what failed: which object: why", lower-case start, no trailing period.
    public init(_ code: Code, _ message: String, details: [String: String] = [:]) {
        self.code = code
        self.message = message
        self.details = details
    }

    public var description: String { "\(code.rawValue): \(message)" }

    /// An `invalid_argument` error naming the field at fault.
    public static func invalid(_ field: String, _ why: String) -> MartletError {
        MartletError(.invalidArgument, "\(field): \(why)", details: ["field": field])
    }
}
