/// Why a call of the Connect protocol failed: https://connectrpc.com/docs/protocol/#error-end-stream
package struct ConnectError: Error, Sendable, Equatable {
    /// The protocol's codes, with the HTTP status each has in an answer that is not a stream.
    package enum Code: String, Sendable, CaseIterable, Codable {
        case canceled, unknown, unimplemented, `internal`, unavailable, unauthenticated, aborted
        case invalidArgument = "invalid_argument"
        case deadlineExceeded = "deadline_exceeded"
        case notFound = "not_found"
        case alreadyExists = "already_exists"
        case permissionDenied = "permission_denied"
        case resourceExhausted = "resource_exhausted"
        case failedPrecondition = "failed_precondition"
        case outOfRange = "out_of_range"
        case dataLoss = "data_loss"

        package var httpStatus: Int {
            switch self {
            case .canceled: 499
            case .unknown, .internal, .dataLoss: 500
            case .invalidArgument, .failedPrecondition, .outOfRange: 400
            case .deadlineExceeded: 504
            case .notFound: 404
            case .alreadyExists, .aborted: 409
            case .permissionDenied: 403
            case .resourceExhausted: 429
            case .unimplemented: 501
            case .unavailable: 503
            case .unauthenticated: 401
            }
        }
    }

    package var code: Code
    package var message: String

    package init(_ code: Code, _ message: String) {
        self.code = code
        self.message = message
    }
}

extension ConnectError: Codable {}
