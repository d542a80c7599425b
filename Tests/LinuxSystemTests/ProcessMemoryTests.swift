import Foundation
import Glibc
import Testing

@testable import LinuxSystem

@Suite struct ProcessMemoryTests {
    @Test func `the checksum is CRC-32C`() throws {
        // RFC 3720, appendix B.4, and the check value of the catalogues.
        #expect(Checksum.crc32c(Array("123456789".utf8)) == 0xE306_9283)
        #expect(Checksum.crc32c([UInt8](repeating: 0, count: 32)) == 0x8A91_36AA)
        #expect(Checksum.crc32c([UInt8](repeating: 0xFF, count: 32)) == 0x62A8_AB43)
        #expect(Checksum.crc32c((0..<32).map { UInt8($0) }) == 0x46DD_794E)
        let bytes = (0..<1000).map { UInt8(truncatingIfNeeded: $0 * 7) }
        #expect(
            Checksum.crc32c(Array(bytes[333...]), after: Checksum.crc32c(Array(bytes[..<333])))
                == Checksum.crc32c(bytes))
        try withFile { path in
            try Data(bytes).write(to: URL(fileURLWithPath: path))
            let file = try Descriptor.open(path, O_RDONLY)
            #expect(try Checksum.crc32c(of: file) == Checksum.crc32c(bytes))
            #expect(try Checksum.crc32c(of: file, from: 999) == Checksum.crc32c([bytes[999]]))
        }
    }

    @Test func `holes count as the zeros they are`() throws {
        for (count, data) in [
            (0, []), (1, []), (4096, [0]), (1 << 20, [4096, 5000, 700_000]), (3_000_001, [3_000_000]),
            (5_000_000, [2_500_000]), (12_345_678, []),
        ] {
            try withFile { path in
                let file = try Descriptor.open(path, O_RDWR | O_CREAT | O_EXCL)
                #expect(ftruncate(file.number, off_t(count)) == 0)
                for offset in data { try file.writeAll([7], at: UInt64(offset)) }
                var bytes = [UInt8](repeating: 0, count: count)
                for offset in data { bytes[offset] = 7 }
                #expect(try Checksum.crc32c(of: file) == Checksum.crc32c(bytes), "\(count) \(data)")
                let start = count / 3
                #expect(try Checksum.crc32c(of: file, from: UInt64(start)) == Checksum.crc32c(Array(bytes[start...])))
            }
        }
        // What nobody would read to its end.
        try withFile { path in
            let file = try Descriptor.open(path, O_RDWR | O_CREAT | O_EXCL)
            #expect(ftruncate(file.number, 1 << 42) == 0)
            _ = try Checksum.crc32c(of: file)
        }
    }

    private func withFile(_ body: (String) throws -> Void) throws {
        let path = NSTemporaryDirectory() + "martlet-memory-\(UUID().uuidString.prefix(8))"
        defer { unlink(path) }
        try body(path)
    }

    /// Runs a program that maps a file privately, writes every page a number of `pages` names, and waits for the end
    /// of its input.
    private func withHelper(_ pages: [Int], of count: Int, _ body: (pid_t, String) throws -> Void) throws {
        try withFile { path in
            try Data(count: count * ProcessMemory.pageSize).write(to: URL(fileURLWithPath: path))
            let script = """
                import mmap, sys
                with open(sys.argv[1], 'rb') as f:
                    m = mmap.mmap(f.fileno(), 0, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ | mmap.PROT_WRITE)
                for page in map(int, sys.argv[2].split(',')): m[page * 4096 + 17] = page % 255 + 1
                print(sum(m[i * 4096] for i in range(len(m) // 4096)), flush=True)
                sys.stdin.read()
                """
            let process = Process()
            process.executableURL = URL(fileURLWithPath: "/usr/bin/python3")
            process.arguments = ["-c", script, path, pages.map(String.init).joined(separator: ",")]
            let (input, output) = (Pipe(), Pipe())
            process.standardInput = input
            process.standardOutput = output
            try process.run()
            defer {
                try? input.fileHandleForWriting.close()
                process.waitUntilExit()
            }
            // It has read every page and written some: pages of the file and pages of its own lie side by side.
            #expect(output.fileHandleForReading.readData(ofLength: 2) == Data("0\n".utf8))
            try body(process.processIdentifier, path)
        }
    }

    @Test(.enabled(if: access("/usr/bin/python3", X_OK) == 0, "needs python3"))
    func `both ways find exactly the pages another process has written`() throws {
        // More runs than fit at the first try, and some longer ones.
        let written = Array(stride(from: 1, to: 9000, by: 2)) + Array(9100..<9164) + [9999]
        try withHelper(written, of: 10_000) { pid, path in
            let memory = try ProcessMemory.mapping(of: path, in: pid)
            #expect(memory.length == 10_000 * 4096)
            let runs = try memory.writtenRuns()
            #expect(try memory.writtenRunsByTable() == runs)
            #expect(runs.flatMap { Int($0.page)..<Int($0.page + $0.count) } == written)
            #expect(runs.count == 4500 + 2)
            try withFile { copyPath in
                let copy = try Descriptor.open(copyPath, O_RDWR | O_CREAT | O_EXCL)
                let checksum = try memory.copy(runs, to: copy, at: 4096)
                #expect(try Checksum.crc32c(of: copy, from: 4096) == checksum)
                let bytes = try Data(contentsOf: URL(fileURLWithPath: copyPath))
                #expect(bytes.count == (written.count + 1) * 4096)
                for (index, page) in written.enumerated() where index % 97 == 0 {
                    #expect(bytes[(index + 1) * 4096 + 17] == UInt8(page % 255 + 1), "page \(page)")
                }
            }
        }
    }

    @Test(.enabled(if: access("/usr/bin/python3", X_OK) == 0, "needs python3"))
    func `what is filled in is read by the process, and nothing outside the mapping is touched`() throws {
        try withHelper([3], of: 16) { pid, path in
            let memory = try ProcessMemory.mapping(of: path, in: pid)
            try withFile { sourcePath in
                try Data([UInt8](repeating: 9, count: 3 * 4096)).write(to: URL(fileURLWithPath: sourcePath))
                let source = try Descriptor.open(sourcePath, O_RDONLY)
                let checksum = try memory.fill(
                    [.init(page: 0, count: 1), .init(page: 14, count: 2)], from: source, at: 0)
                #expect(try Checksum.crc32c(of: source) == checksum)
                #expect(
                    try memory.writtenRuns() == [
                        .init(page: 0, count: 1), .init(page: 3, count: 1), .init(page: 14, count: 2),
                    ])
                for run: ProcessMemory.Run in [
                    .init(page: 15, count: 2), .init(page: 16, count: 1), .init(page: 0, count: 17),
                    .init(page: .max, count: 2), .init(page: 1, count: .max), .init(page: 1, count: 0),
                ] {
                    let error = #expect(throws: SystemError.self) { try memory.fill([run], from: source, at: 0) }
                    #expect(error?.errno == EINVAL, "\(run)")
                }
            }
            // The file itself is never written.
            #expect(try Data(contentsOf: URL(fileURLWithPath: path)).allSatisfy { $0 == 0 })
        }
    }

    @Test func `a file that is not mapped is not found`() throws {
        try withFile { path in
            try Data(count: 4096).write(to: URL(fileURLWithPath: path))
            let error = #expect(throws: SystemError.self) { try ProcessMemory.mapping(of: path, in: getpid()) }
            #expect(error?.errno == ENOENT)
        }
    }
}
