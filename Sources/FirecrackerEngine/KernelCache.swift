import Crypto
import FoundationEssentials
import Glibc
import LinuxSystem
import NIOPosix

/// Kernels that were taken out of their images, one for each image.
actor KernelCache {
    private static let largestImage = 256 << 20
    private let directory: String
    /// By their paths; the first who wants one takes it out, all others wait for that.
    private var kernels: [String: Task<String, any Error>] = [:]

    /// - Parameter directory: the engine's own.
    init(directory: String) { self.directory = directory }

    /// The path of the kernel in an image, as Firecracker boots it.
    ///
    /// - Throws: `failed_precondition` when the image is damaged or the tool for its compression is missing.
    func kernel(of image: String) async throws -> String {
        let bytes = try await NIOThreadPool.singleton.runIfActive {
            try AtomicFile.read(image, limit: KernelCache.largestImage)
        }
        let name = SHA256.hash(data: bytes).prefix(16).map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
        let path = "\(directory)/vmlinux-\(name)"
        if let task = kernels[path] { return try await task.value }
        mkdir(directory, 0o700)
        let task = Task {
            if access(path, R_OK) != 0 { try await KernelImage.unpack(image, to: path) }
            return path
        }
        kernels[path] = task
        do {
            return try await task.value
        } catch {
            kernels[path] = nil
            throw error
        }
    }
}
