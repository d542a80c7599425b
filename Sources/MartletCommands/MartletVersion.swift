import GuestProtocol

/// What this program is.
enum MartletVersion {
    /// The release, as `martlet --version` prints it.
    static let number = "0.1.0"
    /// The HTTP API's version.
    static let api = "v1"
    /// The generation of the protocol between host and guest.
    static let guestProtocol = Int(ProtocolGeneration.current)
}
