/// The kernel this process runs on.
public enum HostKernel {
    /// Its release, such as `6.1.0-40-cloud-amd64`; empty where it does not tell.
    public static let release: String = {
        let bytes = (try? AtomicFile.read("/proc/sys/kernel/osrelease")) ?? []
        return String(decoding: bytes.filter { $0 > 32 }, as: UTF8.self)
    }()
}
