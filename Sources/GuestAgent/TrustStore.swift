import CLinux
import Glibc
import GuestProtocol
import LinuxSystem

/// The authorities programs trust: the system's, and the one the host has named.
///
/// The system's bundle is rewritten where it is, on the disk, rather than covered by a mount: the programs that maintain
/// it replace it by a rename, which fails on a mount. They find the authority among the local ones, and keep it.
package struct TrustStore: Sendable {
    /// Where distributions keep their bundle; the first that is there counts.
    private static let systemBundles = ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt"]
    private static let localAuthorities = "/usr/local/share/ca-certificates"
    private static let localName = "/martlet.crt"
    private static let begin = Array("# Added by martlet-guest\n".utf8)
    private static let end = Array("# Added by martlet-guest: end\n".utf8)
    /// Debian's has 220 KB.
    private static let maxBundleBytes = 4 << 20

    /// Before every path; empty on a machine of its own.
    private let root: String

    package init(root: String = "") { self.root = root }

    /// Makes the authority known; another one named before is forgotten.
    ///
    /// - Throws: `EINVAL` for what is no certificate, and whatever keeps it from being written. What a program of the
    ///   guest has done to the system's own bundle does not count: it has another one.
    package func trust(_ certificate: [UInt8]) throws(SystemError) {
        guard TrustStore.isCertificate(certificate) else {
            throw SystemError("trust", "certificate", errno: EINVAL)
        }
        var text = certificate
        if text.last != 10 { text.append(10) }
        let local = root + TrustStore.localAuthorities
        // Named twice, since the disk may have gone on in another machine.
        let earlier = [root + GuestTrust.certificate, local + TrustStore.localName].compactMap(TrustStore.certificate)
        try AtomicFile.write(text, to: root + GuestTrust.certificate, mode: 0o644, durable: false)
        let bundle = systemBundle()
        let content = TrustStore.bundle(bundle?.content ?? [], with: text, without: earlier)
        try AtomicFile.write(content, to: root + GuestTrust.bundle, mode: 0o644, durable: false)
        guard let bundle else { return }
        try? TrustStore.overwrite(bundle.file, content)
        if access(local, F_OK) == 0 {
            try? AtomicFile.write(text, to: local + TrustStore.localName, mode: 0o644, durable: false)
        }
    }

    /// The system's bundle, if it is a file of honest size.
    private func systemBundle() -> (file: Descriptor, content: [UInt8])? {
        for path in TrustStore.systemBundles {
            // Not waiting: what is there may be anything by now.
            guard let file = try? Descriptor.open(root + path, O_RDWR | O_NONBLOCK) else { continue }
            var info = stat()
            guard fstat(file.number, &info) == 0, info.st_mode & S_IFMT == S_IFREG,
                info.st_size <= off_t(TrustStore.maxBundleBytes),
                let content = try? file.readAll(limit: TrustStore.maxBundleBytes)
            else { continue }
            return (file, content)
        }
        return nil
    }

    private static func overwrite(_ file: Descriptor, _ bytes: [UInt8]) throws(SystemError) {
        try file.writeAll(bytes, at: 0)
        guard ftruncate(file.number, off_t(bytes.count)) == 0 else {
            throw SystemError("truncate", "the bundle of authorities", errno: errno)
        }
    }

    /// The certificate in a file of ours; nil where a program has put something else there.
    private static func certificate(at path: String) -> [UInt8]? {
        guard let file = try? Descriptor.open(path, O_RDONLY | O_NONBLOCK),
            let bytes = try? file.readAll(limit: GuestTrust.maxBytes + 1), isCertificate(bytes)
        else { return nil }
        return bytes
    }

    /// `content` with our authority at its end instead of earlier ones, which may be among the others as well: whoever
    /// makes a bundle of the local ones keeps no marks.
    static func bundle(_ content: [UInt8], with certificate: [UInt8], without earlier: [[UInt8]]) -> [UInt8] {
        var result = content
        if let start = position(of: begin, in: content, from: 0) {
            let stop = position(of: end, in: content, from: start).map { $0 + end.count } ?? content.count
            result.removeSubrange(start..<stop)
        }
        for text in earlier {
            while let start = position(of: text, in: result, from: 0) {
                result.removeSubrange(start..<start + text.count)
            }
        }
        if let last = result.last, last != 10 { result.append(10) }
        return result + begin + certificate + end
    }

    private static func position(of piece: [UInt8], in bytes: [UInt8], from start: Int) -> Int? {
        var index = start
        while index + piece.count <= bytes.count {
            guard let found = bytes[index...].firstIndex(of: piece[0]), found + piece.count <= bytes.count else {
                return nil
            }
            if bytes[found..<found + piece.count].elementsEqual(piece) { return found }
            index = found + 1
        }
        return nil
    }

    /// Whether it looks like PEM: the host is trusted, but what it sends becomes part of a file of many lines.
    private static func isCertificate(_ bytes: [UInt8]) -> Bool {
        bytes.count <= GuestTrust.maxBytes && bytes.starts(with: "-----BEGIN CERTIFICATE-----\n".utf8)
            && bytes.allSatisfy { $0 == 10 || (32..<127).contains($0) }
            && position(of: Array("-----END CERTIFICATE-----".utf8), in: bytes, from: 0) != nil
    }
}
