import E2BProtocol
import HTTPTypes
import Hummingbird
import NIOCore
import SandboxModel

/// Failures in the shapes E2B's clients read.
enum E2BErrors {
    /// An answer of the control API, or of the daemon's plain HTTP routes.
    static func response(_ error: E2BError, requestID: String? = nil) -> Response {
        var headers: HTTPFields = [.contentType: "application/json"]
        if error.code == 429 || error.code == 503 { headers[.retryAfter] = "1" }
        let bytes = (try? ProtoJSON.encode(error)) ?? []
        return Response(
            status: .init(code: error.code), headers: headers, body: .init(byteBuffer: ByteBuffer(bytes: bytes)))
    }

    /// A failure of ours as the control API tells it.
    static func control(_ error: MartletError) -> E2BError {
        let code =
            switch error.code {
            case .failedPrecondition: 409
            default: error.code.httpStatus
            }
        return E2BError(code: code, message: error.message)
    }

    /// A failure of ours as an answer of `/files` and its like tells it.
    static func files(_ error: MartletError) -> E2BError {
        switch (error.code, error.details["reason"]) {
        case (_, "no_space"): E2BError(code: 507, message: "not enough disk space available: \(error.message)")
        case (.invalidArgument, "invalid_argument") where isUnknownUser(error):
            E2BError(code: 401, message: "error looking up user: \(error.message)")
        case (.conflict, "not_empty"), (.failedPrecondition, _): E2BError(code: 400, message: error.message)
        default: E2BError(code: error.code.httpStatus, message: error.message)
        }
    }

    /// A failure of ours as a call of the Connect protocol ends with.
    static func connect(_ error: MartletError) -> ConnectError {
        let code: ConnectError.Code =
            switch (error.code, error.details["reason"]) {
            case (_, "process_exited"): .notFound
            case (.invalidArgument, "invalid_argument") where isUnknownUser(error): .unauthenticated
            case (.invalidArgument, _), (.tooLarge, _): .invalidArgument
            case (.unauthenticated, _): .unauthenticated
            case (.permissionDenied, _): .permissionDenied
            case (.notFound, _): .notFound
            case (.conflict, _): .alreadyExists
            case (.failedPrecondition, _): .failedPrecondition
            case (.resourceExhausted, _): .resourceExhausted
            case (.unsupported, _): .unimplemented
            case (.unavailable, _): .unavailable
            case (.timeout, _): .deadlineExceeded
            case (.internal, _): .internal
            }
        return ConnectError(code, error.message)
    }

    /// Any failure of a call as the Connect protocol tells it.
    static func connect(_ error: any Error) -> ConnectError {
        if let error = error as? ConnectError { return error }
        return connect(ErrorResponse.martletError(error))
    }

    /// The guest has no code of its own for this.
    private static func isUnknownUser(_ error: MartletError) -> Bool { error.message.hasSuffix(": no such user") }

    // MARK: What the proxy before a sandbox answers; clients look at the wording

    /// The sandbox is not there, or does not run.
    static func notRunning(_ sandbox: String) -> Response { response(.notRunning(sandbox)) }

    /// A failure to reach a sandbox at all.
    static func response(_ failure: ProxyFailure) -> Response {
        Response(
            status: .init(code: failure.code), headers: [.contentType: "application/json"],
            body: .init(byteBuffer: ByteBuffer(bytes: failure.bytes)))
    }
}
