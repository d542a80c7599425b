import CLinux
import Glibc
import LinuxSystem
import SandboxModel

/// The pages a guest has written over its base memory image, in one file.
///
/// ```
/// offset 0   "martlet-pages/1\n"                        16 bytes
///       16   u32 runs · u32 CRC-32C of the index · u64 pages · u32 CRC-32C of the pages · u32 zero
///       40   index: for each run u64 first page, u64 count
///        …   zeros up to a multiple of 4096, then the pages, run after run
/// ```
/// Integers are little-endian; a page has 4096 bytes. Format of our own.
package struct PageFile: Sendable {
    private static let magic = Array("martlet-pages/1\n".utf8)
    private static let headerSize = 40
    /// A run has at least one page, so more runs than this are no honest file of a guest of 64 GiB.
    private static let maxRuns = 16 << 20

    package var runs: [ProcessMemory.Run]
    package var pageCount: UInt64
    private var pagesChecksum: UInt32

    /// Bytes of the whole file.
    package var size: UInt64 { PageFile.dataOffset(runs: runs.count) + pageCount * UInt64(ProcessMemory.pageSize) }

    private static func dataOffset(runs: Int) -> UInt64 {
        (UInt64(headerSize + runs * 16) + 4095) / 4096 * 4096
    }

    /// Where the pages begin.
    package var dataOffset: UInt64 { PageFile.dataOffset(runs: runs.count) }

    /// Writes all pages of `memory` that its process has written to a new file. Blocks the thread; nothing is flushed.
    @discardableResult
    package static func write(_ memory: ProcessMemory, to path: String) throws(SystemError) -> PageFile {
        let runs = try memory.writtenRuns()
        let file = try Descriptor.open(path, O_RDWR | O_CREAT | O_EXCL)
        let checksum = try memory.copy(runs, to: file, at: dataOffset(runs: runs.count))
        let pages = PageFile(runs: runs, pageCount: runs.reduce(0) { $0 + $1.count }, pagesChecksum: checksum)
        try file.writeAll(pages.encodedHead)
        // Without pages nothing has written behind the index yet.
        guard ftruncate(file.number, Int(pages.size)) == 0 else { throw SystemError("truncate", path, errno: errno) }
        return pages
    }

    /// Writes all pages in which a whole memory image differs from another to a new file. Blocks the thread; nothing is
    /// flushed.
    ///
    /// - Parameters:
    ///   - dump: the memory as it was captured.
    ///   - base: the path of the image it stands on, of the same size.
    @discardableResult
    package static func write(
        _ dump: Descriptor, over base: String, to path: String
    ) throws(SystemError) -> PageFile {
        let runs = try differences(dump, try Descriptor.open(base, O_RDONLY))
        let file = try Descriptor.open(path, O_RDWR | O_CREAT | O_EXCL)
        var (checksum, target) = (UInt32(0), dataOffset(runs: runs.count))
        for run in runs {
            var (source, left) = (run.page * pageBytes, Int(run.count * pageBytes))
            while left > 0 {
                let bytes = try dump.read(upTo: min(left, chunkBytes), at: source)
                if bytes.isEmpty { throw SystemError("read memory", path, errno: EIO) }
                checksum = Checksum.crc32c(bytes, after: checksum)
                try file.writeAll(bytes, at: target)
                (source, target, left) = (
                    source + UInt64(bytes.count), target + UInt64(bytes.count), left - bytes.count
                )
            }
        }
        let pages = PageFile(runs: runs, pageCount: runs.reduce(0) { $0 + $1.count }, pagesChecksum: checksum)
        try file.writeAll(pages.encodedHead, at: 0)
        guard ftruncate(file.number, Int(pages.size)) == 0 else { throw SystemError("truncate", path, errno: errno) }
        return pages
    }

    private static let pageBytes = UInt64(ProcessMemory.pageSize)
    private static let chunkBytes = 1 << 20

    /// The pages in which two files differ; the one that is shorter is taken to be unlike from its end on.
    private static func differences(
        _ file: Descriptor, _ other: Descriptor
    ) throws(SystemError) -> [ProcessMemory.Run] {
        var runs: [ProcessMemory.Run] = []
        var offset: UInt64 = 0
        while true {
            let mine = try file.read(upTo: chunkBytes, at: offset)
            let theirs = try other.read(upTo: chunkBytes, at: offset)
            guard !mine.isEmpty else { return runs }
            guard mine.count % Int(pageBytes) == 0 else { throw SystemError("compare memory", "images", errno: EIO) }
            if mine != theirs {
                for start in stride(from: 0, to: mine.count, by: Int(pageBytes)) {
                    let end = start + Int(pageBytes)
                    if end <= theirs.count, mine[start..<end] == theirs[start..<end] { continue }
                    let page = (offset + UInt64(start)) / pageBytes
                    if let last = runs.last, last.page + last.count == page {
                        runs[runs.count - 1].count += 1
                    } else {
                        runs.append(ProcessMemory.Run(page: page, count: 1))
                    }
                }
            }
            offset += UInt64(mine.count)
        }
    }

    private init(runs: [ProcessMemory.Run], pageCount: UInt64, pagesChecksum: UInt32) {
        self.runs = runs
        self.pageCount = pageCount
        self.pagesChecksum = pagesChecksum
    }

    /// Reads the head of a file.
    ///
    /// - Throws: `failed_precondition` when it is damaged.
    package static func read(_ path: String) throws -> (pages: PageFile, file: Descriptor) {
        let file = try Descriptor.open(path, O_RDONLY)
        let head = try file.read(upTo: headerSize)
        guard head.count == headerSize, head.starts(with: magic) else { throw damaged(path, "it is no page file") }
        let count = Int(number(head, 16, 4))
        guard count <= maxRuns else { throw damaged(path, "its index is too long") }
        var index: [UInt8] = []
        while index.count < count * 16 {
            let piece = try file.read(upTo: count * 16 - index.count)
            if piece.isEmpty { throw damaged(path, "its index is cut off") }
            index.append(contentsOf: piece)
        }
        guard Checksum.crc32c(index) == UInt32(number(head, 20, 4)) else {
            throw damaged(path, "the checksum of its index does not match")
        }
        var runs: [ProcessMemory.Run] = []
        runs.reserveCapacity(count)
        var total: UInt64 = 0
        var next: UInt64 = 0
        for entry in 0..<count {
            let run = ProcessMemory.Run(page: number(index, entry * 16, 8), count: number(index, entry * 16 + 8, 8))
            // Ascending, apart, and small enough that no sum overflows.
            guard run.page >= next, run.count > 0, run.page < 1 << 40, run.count < 1 << 40 else {
                throw damaged(path, "its index makes no sense")
            }
            next = run.page + run.count
            total += run.count
            runs.append(run)
        }
        let pages = PageFile(runs: runs, pageCount: total, pagesChecksum: UInt32(number(head, 32, 4)))
        var info = stat()
        guard total == number(head, 24, 8), fstat(file.number, &info) == 0, UInt64(info.st_size) == pages.size else {
            throw damaged(path, "its size is not what its index says")
        }
        return (pages, file)
    }

    /// Writes the pages of the file over a process's memory. Blocks the thread.
    ///
    /// - Throws: `failed_precondition` when the file is damaged; the process's memory is not to be used then.
    package static func apply(_ path: String, to memory: ProcessMemory) throws {
        let (pages, file) = try read(path)
        let checksum = try memory.fill(pages.runs, from: file, at: pages.dataOffset)
        guard checksum == pages.pagesChecksum else { throw damaged(path, "the checksum of its pages does not match") }
    }

    /// Writes the pages over a copy of the memory image they belong to. Blocks the thread.
    ///
    /// - Throws: `failed_precondition` when the file is damaged; the copy is not to be used then.
    package static func apply(_ path: String, toImage image: Descriptor) throws {
        let (pages, file) = try read(path)
        let end = pages.runs.last.map { ($0.page + $0.count) * pageBytes } ?? 0
        guard end <= UInt64(max(0, lseek(image.number, 0, SEEK_END))) else {
            throw damaged(path, "it has pages that the memory has not")
        }
        var checksum: UInt32 = 0
        var source = pages.dataOffset
        for run in pages.runs {
            var left = Int(run.count) * ProcessMemory.pageSize
            var target = run.page * UInt64(ProcessMemory.pageSize)
            while left > 0 {
                let bytes = try file.read(upTo: min(left, 1 << 20), at: source)
                if bytes.isEmpty { throw damaged(path, "it is cut off") }
                checksum = Checksum.crc32c(bytes, after: checksum)
                try image.writeAll(bytes, at: target)
                left -= bytes.count
                source += UInt64(bytes.count)
                target += UInt64(bytes.count)
            }
        }
        guard checksum == pages.pagesChecksum else { throw damaged(path, "the checksum of its pages does not match") }
    }

    /// Checks the whole file. Blocks the thread.
    ///
    /// - Throws: `failed_precondition` when it is damaged.
    package static func verify(_ path: String) throws {
        let (pages, file) = try read(path)
        guard try Checksum.crc32c(of: file, from: pages.dataOffset) == pages.pagesChecksum else {
            throw damaged(path, "the checksum of its pages does not match")
        }
    }

    private var encodedHead: [UInt8] {
        var index: [UInt8] = []
        index.reserveCapacity(runs.count * 16)
        for run in runs {
            PageFile.append(run.page, 8, to: &index)
            PageFile.append(run.count, 8, to: &index)
        }
        var head = PageFile.magic
        PageFile.append(UInt64(runs.count), 4, to: &head)
        PageFile.append(UInt64(Checksum.crc32c(index)), 4, to: &head)
        PageFile.append(pageCount, 8, to: &head)
        PageFile.append(UInt64(pagesChecksum), 4, to: &head)
        PageFile.append(0, 4, to: &head)
        return head + index
    }

    private static func append(_ value: UInt64, _ bytes: Int, to array: inout [UInt8]) {
        for byte in 0..<bytes { array.append(UInt8(truncatingIfNeeded: value >> (8 * UInt64(byte)))) }
    }

    private static func number(_ bytes: [UInt8], _ offset: Int, _ count: Int) -> UInt64 {
        (0..<count).reduce(0) { $0 | UInt64(bytes[offset + $1]) << (8 * UInt64($1)) }
    }

    private static func damaged(_ path: String, _ why: String) -> MartletError {
        MartletError(
            .failedPrecondition, "restore: \(path.split(separator: "/").last ?? ""): \(why)",
            details: ["reason": "damaged"])
    }
}
