import Foundation
import Glibc
import LinuxSystem
import SandboxEngine
import SandboxModel
import Testing

@Suite struct PageFileTests {
    private static let pages = 300
    private static let size = pages * ProcessMemory.pageSize

    /// A file that is mapped privately into this very process, as QEMU maps a guest's memory.
    private struct Mapping {
        let base: String
        let bytes: UnsafeMutableRawBufferPointer

        init(in directory: String, _ name: String) throws {
            base = "\(directory)/\(name)"
            try Data((0..<PageFileTests.size).map { UInt8(truncatingIfNeeded: $0 / 4096 + 1) })
                .write(to: URL(fileURLWithPath: base))
            let file = try Descriptor.open(base, O_RDONLY)
            let address = mmap(
                nil, PageFileTests.size, PROT_READ | PROT_WRITE, MAP_PRIVATE, file.number, 0)
            try #require(address != MAP_FAILED)
            bytes = UnsafeMutableRawBufferPointer(start: address, count: PageFileTests.size)
        }

        func write(_ text: String, page: Int) {
            for (index, byte) in text.utf8.enumerated() { bytes[page * ProcessMemory.pageSize + index] = byte }
        }

        var memory: ProcessMemory { get throws { try ProcessMemory.mapping(of: base, in: getpid()) } }

        func unmap() { munmap(bytes.baseAddress, bytes.count) }
    }

    private func withScratch(_ body: (String) throws -> Void) throws {
        let directory = NSTemporaryDirectory() + "martlet-pages-\(UUID().uuidString.prefix(8))"
        try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: directory) }
        try body(directory)
    }

    @Test func `what was written over a base is restored over another mapping of it`() throws {
        try withScratch { directory in
            let (source, target) = (try Mapping(in: directory, "a"), try Mapping(in: directory, "b"))
            defer {
                source.unmap()
                target.unmap()
            }
            for page in [0, 7, 8, 9, 150, 299] { source.write("page \(page)", page: page) }
            let path = "\(directory)/pages"
            let written = try PageFile.write(source.memory, to: path)
            #expect(
                written.runs == [
                    .init(page: 0, count: 1), .init(page: 7, count: 3), .init(page: 150, count: 1),
                    .init(page: 299, count: 1),
                ])
            #expect(written.pageCount == 6)
            #expect(try Data(contentsOf: URL(fileURLWithPath: path)).count == Int(written.size))
            try PageFile.verify(path)
            #expect(try PageFile.read(path).pages.runs == written.runs)
            try PageFile.apply(path, to: target.memory)
            #expect(memcmp(source.bytes.baseAddress!, target.bytes.baseAddress!, PageFileTests.size) == 0)
            // What was filled in is the target's own by now, and would be captured again.
            #expect(try target.memory.writtenRuns() == written.runs)
        }
    }

    @Test func `a mapping nobody has written to makes a file without pages`() throws {
        try withScratch { directory in
            let mapping = try Mapping(in: directory, "a")
            defer { mapping.unmap() }
            let written = try PageFile.write(mapping.memory, to: "\(directory)/pages")
            #expect(written.runs.isEmpty && written.pageCount == 0)
            try PageFile.apply("\(directory)/pages", to: mapping.memory)
            #expect(try mapping.memory.writtenRuns().isEmpty)
        }
    }

    @Test func `two whole images make a file of the pages they differ in`() throws {
        try withScratch { directory in
            let (base, dump) = ("\(directory)/base", "\(directory)/dump")
            // More than is compared at a time, with a hole in it.
            let size = 700 * ProcessMemory.pageSize
            let image = try Descriptor.open(base, O_RDWR | O_CREAT)
            try image.writeAll([UInt8](repeating: 5, count: 100 * ProcessMemory.pageSize))
            try #require(ftruncate(image.number, size) == 0)
            var bytes = try Data(contentsOf: URL(fileURLWithPath: base))
            for page in [0, 255, 256, 257, 400, 699] { bytes[page * ProcessMemory.pageSize + page] = 77 }
            try bytes.write(to: URL(fileURLWithPath: dump))
            let pages = "\(directory)/pages"
            let written = try PageFile.write(Descriptor.open(dump, O_RDONLY), over: base, to: pages)
            #expect(
                written.runs == [
                    .init(page: 0, count: 1), .init(page: 255, count: 3), .init(page: 400, count: 1),
                    .init(page: 699, count: 1),
                ])
            try PageFile.verify(pages)
            #expect(try Data(contentsOf: URL(fileURLWithPath: base)) != bytes)
            try PageFile.apply(pages, toImage: image)
            #expect(try Data(contentsOf: URL(fileURLWithPath: base)) == bytes)
            try Data(count: 600 * ProcessMemory.pageSize).write(to: URL(fileURLWithPath: base))
            let error = #expect(throws: MartletError.self) {
                try PageFile.apply(pages, toImage: Descriptor.open(base, O_RDWR))
            }
            #expect(error?.details["reason"] == "damaged")
            let none = "\(directory)/none"
            #expect(try PageFile.write(Descriptor.open(dump, O_RDONLY), over: dump, to: none).runs.isEmpty)
            try PageFile.verify(none)
        }
    }

    @Test func `pages beyond the memory are refused`() throws {
        try withScratch { directory in
            let mapping = try Mapping(in: directory, "a")
            mapping.write("x", page: 299)
            try PageFile.write(mapping.memory, to: "\(directory)/pages")
            mapping.unmap()
            try Data(count: 10 * 4096).write(to: URL(fileURLWithPath: "\(directory)/small"))
            let file = try Descriptor.open("\(directory)/small", O_RDONLY)
            let address = mmap(nil, 10 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, file.number, 0)
            defer { munmap(address, 10 * 4096) }
            let small = try ProcessMemory.mapping(of: "\(directory)/small", in: getpid())
            #expect(throws: SystemError.self) { try PageFile.apply("\(directory)/pages", to: small) }
        }
    }

    /// Every byte counts: whatever is changed, cut off or added is noticed, and nothing of it crashes the reader.
    @Test func `a damaged file is refused whatever is wrong with it`() throws {
        try withScratch { directory in
            let mapping = try Mapping(in: directory, "a")
            defer { mapping.unmap() }
            for page in stride(from: 0, to: 60, by: 3) { mapping.write("page \(page)", page: page) }
            let path = "\(directory)/pages"
            let written = try PageFile.write(mapping.memory, to: path)
            let whole = [UInt8](try Data(contentsOf: URL(fileURLWithPath: path)))
            let head = 40 + written.runs.count * 16
            var random = SeededGenerator(state: 7)
            for round in 0..<600 {
                var bytes = whole
                switch round % 4 {
                case 0:
                    // Not the unused word of the head, nor the padding behind the index.
                    let places = [0..<36, 40..<head, Int(written.dataOffset)..<whole.count]
                    let place = Int.random(in: places[round / 4 % 3], using: &random)
                    bytes[place] ^= UInt8.random(in: 1...255, using: &random)
                case 1: bytes.removeLast(Int.random(in: 1...whole.count, using: &random))
                case 2: bytes += (0..<Int.random(in: 1...5000, using: &random)).map { _ in 0 }
                default:
                    // An index that lies, with a checksum that is right: a run begins before the last one's end, or has
                    // another length.
                    let run = Int.random(in: 1..<written.runs.count, using: &random)
                    let lies: [UInt64] = [0, 2, 57, .max, 1 << 40, 1 << 63]
                    let (field, lie) = round % 8 < 4 ? (0, 0) : (8, lies[round / 8 % lies.count])
                    for byte in 0..<8 {
                        bytes[40 + run * 16 + field + byte] = UInt8(truncatingIfNeeded: lie >> (8 * UInt64(byte)))
                    }
                    let sum = Checksum.crc32c(Array(bytes[40..<head]))
                    for byte in 0..<4 { bytes[20 + byte] = UInt8(truncatingIfNeeded: sum >> (8 * UInt32(byte))) }
                }
                try Data(bytes).write(to: URL(fileURLWithPath: path))
                let error = #expect(throws: MartletError.self, "round \(round)") { try PageFile.verify(path) }
                #expect(error?.code == .failedPrecondition && error?.details["reason"] == "damaged")
            }
        }
    }

    @Test func `noise is no page file`() throws {
        try withScratch { directory in
            var random = SeededGenerator(state: 11)
            let path = "\(directory)/pages"
            for round in 0..<400 {
                var bytes = (0..<Int.random(in: 0...300, using: &random)).map { _ in
                    UInt8.random(in: .min ... .max, using: &random)
                }
                // Most begin as a page file does, so that what comes after is looked at.
                if round % 4 != 0 { bytes = Array("martlet-pages/1\n".utf8) + bytes }
                try Data(bytes).write(to: URL(fileURLWithPath: path))
                #expect(throws: MartletError.self) { try PageFile.verify(path) }
            }
        }
    }
}

/// The same numbers at every run (SplitMix64).
private struct SeededGenerator: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }
}
