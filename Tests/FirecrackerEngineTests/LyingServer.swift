import CLinux
import Foundation
import Glibc
import LinuxSystem

/// A unix socket behind which a thread answers each connection with what it was told to, whatever it is asked.
final class LyingServer: Sendable {
    let directory: String
    static let name = "api.sock"
    private let listener: Descriptor

    /// - Parameter answer: sent in pieces; the connection ends after the last, unless `holds` says otherwise.
    init(_ answer: [[UInt8]], holds: Bool = false) throws {
        directory = NSTemporaryDirectory() + "martlet-liar-\(UUID().uuidString.prefix(8))"
        try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
        let listener = try UnixSocket.listen(in: try Descriptor.openDirectory(directory), name: LyingServer.name)
        self.listener = listener
        Thread.detachNewThread {
            var held: [Descriptor] = []
            while true {
                let number = Glibc.accept(listener.number, nil, nil)
                guard number >= 0 else { return }
                let connection = Descriptor(owning: number)
                _ = try? connection.read(upTo: 4096)
                for piece in answer {
                    // Who hears no more closes; that is not this thread's end.
                    if send(number, piece, piece.count, Int32(truncatingIfNeeded: MSG_NOSIGNAL)) < 0 { break }
                }
                if holds { held.append(connection) }
            }
        }
    }

    convenience init(_ text: String, holds: Bool = false) throws { try self.init([Array(text.utf8)], holds: holds) }

    func close() {
        shutdown(listener.number, Int32(SHUT_RDWR))
        try? FileManager.default.removeItem(atPath: directory)
    }
}
