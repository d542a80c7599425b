/// Where a guest's agent keeps the authority it was told to trust at a thaw; both files are in memory.
public enum GuestTrust {
    /// The certificate alone.
    public static let certificate = "/run/martlet/ca.pem"
    /// The system's authorities and the certificate.
    public static let bundle = "/run/martlet/ca-bundle.pem"
    /// The longest certificate an agent takes, in bytes of PEM.
    public static let maxBytes = 16_384
}
