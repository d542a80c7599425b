import ControlPlane
import HTTPTypes
import Hummingbird
import Metrics
import SandboxModel

/// Tells who sent a request.
enum Authenticator: Sendable {
    /// For the unix socket: who may open it is decided by its file's permissions.
    case trustsEveryone
    case asksForKey(Keys)

    /// - Throws: `unauthenticated`, saying nothing of which keys there are.
    func caller(of request: Request) throws(MartletError) -> Caller {
        switch self {
        case .trustsEveryone: return .local
        case .asksForKey(let keys):
            guard let key = Authenticator.key(in: request.headers) else {
                Counter(label: "auth_failures_total").increment()
                throw MartletError(
                    .unauthenticated, "authenticate: no API key was sent; send 'Authorization: Bearer <key>'")
            }
            guard let caller = keys.caller(presenting: key) else {
                throw MartletError(.unauthenticated, "authenticate: the API key is not valid")
            }
            return caller
        }
    }

    private static func key(in headers: HTTPFields) -> String? {
        if let value = headers[.authorization] {
            let parts = value.split(separator: " ", maxSplits: 1)
            guard parts.count == 2, parts[0].lowercased() == "bearer" else { return nil }
            return String(parts[1].drop { $0 == " " })
        }
        return headers[.apiKey]
    }
}
