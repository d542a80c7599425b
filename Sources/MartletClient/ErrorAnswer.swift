import FoundationEssentials
import MartletAPI
import NIOCore
import SandboxModel

/// Reads the body of an error answer, whoever wrote it.
enum ErrorAnswer {
    /// The error an answer stands for; a code this client does not know becomes `internal` with the server's text.
    static func error(status: Int, body: ByteBuffer, call: String) -> MartletError {
        guard let answer = try? JSONDecoder().decode(ErrorBody.self, from: Data(body.readableBytesView)) else {
            let text = String(decoding: body.readableBytesView.prefix(200), as: UTF8.self)
            return MartletError(
                code(status: status), "\(call): the server answered \(status)\(text.isEmpty ? "" : ": " + text)")
        }
        return error(answer.error)
    }

    /// The error an API error object stands for.
    static func error(_ detail: ErrorBody.Detail) -> MartletError {
        var details = detail.details
        if !detail.requestID.isEmpty { details["request_id"] = detail.requestID }
        guard let code = MartletError.Code(rawValue: detail.code) else {
            return MartletError(.internal, "\(detail.code): \(detail.message)", details: details)
        }
        return MartletError(code, detail.message, details: details)
    }

    /// The code that goes with a status, for answers that are not ours (a proxy's, say).
    private static func code(status: Int) -> MartletError.Code {
        MartletError.Code.allCases.first { $0.httpStatus == status } ?? (status == 502 ? .unavailable : .internal)
    }
}
