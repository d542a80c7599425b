/// Where the API is served, and within which bounds.
package struct ServerConfiguration: Sendable {
    /// The TCP address; loopback unless told otherwise. nil serves the unix socket only.
    package var host: String? = "127.0.0.1"
    /// 0 takes any free port, which `onListening` tells.
    package var port = 0
    /// The unix socket: the same API for the machine's own user, without a key. Made with mode 0600; its directory must
    /// be the user's own. A path that is too long for a socket address works too. nil serves TCP only.
    package var socketPath: String?
    /// Where published ports have host names: `{port}-{id}.<domain>`.
    package var domain = PreviewDomain.standard
    /// The file served as `/openapi.yaml`; nil or missing answers 404.
    package var openAPIPath: String?
    /// How long requests under way may go on once shutdown began.
    package var drain: Duration = .seconds(4)
    /// How often a quiet event stream says that it is alive.
    package var heartbeat: Duration = .seconds(15)

    /// Whether sandboxes made by clients of E2B may reach the internet, which these clients take for granted. Not unless
    /// the operator says so: nobody's network is opened unasked.
    package var e2bInternet = false

    package init() {}
}

/// An address the API is now served at.
package enum ListeningAddress: Sendable, Equatable {
    case tcp(host: String, port: Int)
    case unix(path: String)
}
