import HTTPTypes
import Hummingbird
import MartletAPI
import NIOCore
import SandboxModel

/// Failures as the API tells them.
enum ErrorResponse {
    /// The answer to a request that failed.
    static func response(_ error: MartletError, requestID: String, status: HTTPResponse.Status? = nil) -> Response {
        var headers: HTTPFields = [.contentType: "application/json"]
        if error.code == .resourceExhausted || error.code == .unavailable { headers[.retryAfter] = "1" }
        let body = (try? StrictJSON.encode(body(error, requestID: requestID))) ?? ByteBuffer()
        return Response(
            status: status ?? HTTPResponse.Status(code: error.code.httpStatus), headers: headers,
            body: .init(byteBuffer: body))
    }

    static func body(_ error: MartletError, requestID: String) -> ErrorBody {
        ErrorBody(
            error: ErrorBody.Detail(
                code: error.code.rawValue, message: error.message, details: error.details, requestID: requestID))
    }

    /// Any error as one of ours; what was not foreseen keeps its details to the log.
    static func martletError(_ error: any Error) -> MartletError {
        switch error {
        case let error as MartletError: error
        case is CancellationError, is ClientLeft:
            MartletError(.unavailable, "request: it was cut off; the daemon is ending or the client left")
        default: MartletError(.internal, "request: an internal error; the daemon's log says more")
        }
    }
}
