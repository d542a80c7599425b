import Hummingbird
import Logging
import NIOCore
import SandboxModel

/// What belongs to one request on its way through the routes.
struct APIContext: RequestContext {
    var coreContext: CoreRequestContextStorage
    /// The connection it came on.
    let channel: any Channel
    /// Told to the client in the answer and written in the log.
    let requestID: String

    init(source: ApplicationRequestContextSource) {
        coreContext = .init(source: source)
        channel = source.channel
        requestID = RandomID.make(prefix: "r")
        logger[metadataKey: "request.id"] = "\(requestID)"
    }
}
