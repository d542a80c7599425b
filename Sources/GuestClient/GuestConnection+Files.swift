import GuestProtocol
import SandboxModel

/// A file being read: its facts, and its bytes as they come.
package struct GuestFileReader: Sendable, AsyncSequence {
    package let info: FileInfo
    let stream: GuestStream

    package struct Iterator: AsyncIteratorProtocol {
        let stream: GuestStream
        package mutating func next() async throws -> [UInt8]? {
            while let element = try await stream.next() {
                switch element {
                case .data(_, let bytes): return bytes
                case .end: return nil
                case .reply: continue
                }
            }
            throw MartletError(.unavailable, "guest: the file's stream broke off")
        }
    }

    package func makeAsyncIterator() -> Iterator { Iterator(stream: stream) }
}

/// A file being written: nothing of it shows in the guest until `finish` returns.
package struct GuestFileWriter: Sendable {
    let stream: GuestStream

    /// Sends more of the file; waits while the guest is behind.
    package func write(_ bytes: some Collection<UInt8> & Sendable) async throws { try await stream.send(bytes) }

    /// Puts the file in its place.
    package func finish() async throws -> FileInfo {
        stream.finish()
        while let element = try await stream.next() {
            if case .end(let payload) = element, let info = try? FileInfo(decodingWithLabels: payload) { return info }
        }
        throw MartletError(.unavailable, "guest: the file's stream broke off")
    }
}

extension GuestConnection {
    /// Opens a regular file for reading. `window` bytes are under way at once.
    package func readFile(_ request: ReadFile, window: Int = 1 << 20) async throws -> GuestFileReader {
        let stream = open(.readFile, request.encoded, window: window)
        while let element = try await stream.next() {
            guard case .reply(let payload) = element, let info = try? FileInfo(decoding: payload) else { break }
            return GuestFileReader(info: info, stream: stream)
        }
        throw MartletError(.unavailable, "guest: it did not say which file it opened")
    }

    /// Begins writing a file. Dropping the writer without `finish` leaves the old file as it was.
    package func writeFile(_ request: WriteFile) -> GuestFileWriter {
        GuestFileWriter(stream: open(.writeFile, request.encoded))
    }

    /// A path's facts; a link is not followed.
    package func stat(_ path: String) async throws -> FileInfo {
        let payload = try await callForPayload(.statFile, FileReference(path: path).encoded)
        do {
            return try FileInfo(decodingWithLabels: payload)
        } catch {
            throw MartletError(.unavailable, "guest: its answer cannot be read: \(error.what)")
        }
    }

    /// The labels of a directory's entries that have any, by path below it, of up to `limit` of them. None from an agent
    /// that is older than labels.
    package func labels(_ request: ListDirectory, limit: Int = 10_000) async throws -> [String: [String]] {
        let stream = open(.listLabels, request.encoded, window: 1 << 20, timeout: .seconds(60))
        var labels: [String: [String]] = [:]
        do {
            while let element = try await stream.next() {
                guard case .data(_, let bytes) = element else { continue }
                var reader = WireReader(bytes)
                while reader.remaining > 0 {
                    guard let entry = try? FileLabels(from: &reader) else {
                        throw MartletError(.unavailable, "guest: its list of labels cannot be read")
                    }
                    if labels.count < limit { labels[entry.path] = entry.labels }
                }
            }
        } catch let error as MartletError where error.code == .unsupported {
            return [:]
        }
        return labels
    }

    /// A directory's entries, up to `limit` of them.
    ///
    /// - Throws: `too_large` when there are more.
    package func list(_ request: ListDirectory, limit: Int = 100_000) async throws -> [FileInfo] {
        let stream = open(.listDirectory, request.encoded, window: 1 << 20, timeout: .seconds(60))
        var entries: [FileInfo] = []
        while let element = try await stream.next() {
            guard case .data(_, let bytes) = element else { continue }
            var reader = WireReader(bytes)
            while reader.remaining > 0 {
                do {
                    entries.append(try FileInfo(from: &reader))
                } catch {
                    throw MartletError(.unavailable, "guest: its list cannot be read: \(error.what)")
                }
            }
            guard entries.count <= limit else {
                throw MartletError(.tooLarge, "list: \(request.path): more than \(limit) entries; list its parts")
            }
        }
        return entries
    }

    /// Makes a directory.
    package func makeDirectory(_ request: MakeDirectory) async throws -> FileInfo {
        try await call(.makeDirectory, request.encoded)
    }

    /// Renames.
    package func move(_ request: MoveFile) async throws -> FileInfo {
        try await call(.moveFile, request.encoded)
    }

    /// Removes.
    package func remove(_ request: RemoveFile) async throws {
        _ = try await callForPayload(.removeFile, request.encoded, timeout: .seconds(120))
    }

    /// Watches a path; returns once the watch holds. Events come as the stream's data, one `FileEvent` each.
    package func watch(_ request: WatchFiles) async throws -> GuestStream {
        let stream = open(.watchFiles, request.encoded)
        while let element = try await stream.next() {
            guard case .reply = element else { break }
            return stream
        }
        throw MartletError(.unavailable, "guest: the watch did not begin")
    }
}
