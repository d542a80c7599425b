import HTTPTypes
import Hummingbird
import LinuxSystem
import Logging
import Metrics
import NIOHTTP1
import SandboxModel

/// Around every request: gives it an id, counts and times it, logs it, and turns every failure into the documented shape.
struct RequestMiddleware: RouterMiddleware {
    typealias Context = APIContext

    let endpoints: [Endpoint]

    func handle(
        _ request: Request, context: APIContext, next: (Request, APIContext) async throws -> Response
    ) async throws -> Response {
        let start = Clocks.monotonicNanoseconds
        var response: Response
        do {
            response = try await next(request, context)
        } catch let error as HTTPParserError {
            // The connection's own loop answers what is no HTTP, and closes.
            throw error
        } catch let error as HTTPError {
            response = routingFailure(error, request, context)
        } catch {
            response = failure(error, context)
        }
        response.headers[.requestID] = context.requestID
        measure(request, context, response.status, Clocks.monotonicNanoseconds - start)
        return response
    }

    private func failure(_ error: any Error, _ context: APIContext) -> Response {
        let known = ErrorResponse.martletError(error)
        if known.code == .internal {
            context.logger.error(
                "request failed", metadata: ["error.code": "\(known.code.rawValue)", "error": "\(error)"])
        }
        return ErrorResponse.response(known, requestID: context.requestID)
    }

    /// What the router itself refuses: no such path, or not with this method.
    private func routingFailure(_ error: HTTPError, _ request: Request, _ context: APIContext) -> Response {
        guard error.status == .notFound else { return failure(error, context) }
        let path = request.uri.path
        let allowed = endpoints.filter { $0.matches(path: path) }.map(\.method.rawValue).sorted()
        guard !allowed.isEmpty else {
            return failure(MartletError(.notFound, "route: there is nothing at this path; see /docs"), context)
        }
        let known = MartletError(
            .invalidArgument, "route: \(request.method.rawValue) is not for this path",
            details: ["allowed": allowed.joined(separator: ", ")])
        var response = ErrorResponse.response(known, requestID: context.requestID, status: .methodNotAllowed)
        response.headers[.allow] = allowed.joined(separator: ", ")
        return response
    }

    private func measure(
        _ request: Request, _ context: APIContext, _ status: HTTPResponse.Status, _ nanoseconds: Int64
    ) {
        // The pattern, never the path itself: the number of different ones is fixed.
        let route = context.endpointPath ?? "none"
        let method = endpoints.contains { $0.method == request.method } ? request.method.rawValue : "other"
        let dimensions = [("method", method), ("route", route)]
        Counter(label: "http_requests_total", dimensions: dimensions + [("status", "\(status.code)")]).increment()
        Timer(label: "http_request_duration_seconds", dimensions: dimensions).recordNanoseconds(nanoseconds)
        context.logger.debug(
            "request answered",
            metadata: [
                "method": "\(method)", "route": "\(route)", "status": "\(status.code)",
                "duration.ms": "\(Double(nanoseconds) / 1e6)",
            ])
    }
}
