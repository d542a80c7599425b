import Foundation
import Glibc
import LinuxSystem
import SandboxModel
import Testing

@testable import QEMUEngine

/// Disks of several files written into one, by the real qemu-img in its jail.
@Suite(.enabled(if: geteuid() == 0, "jails take root"), .timeLimit(.minutes(2)))
struct DiskConversionTests {
    private static let repository = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
        .deletingLastPathComponent().deletingLastPathComponent().path
    private static let bytes: UInt64 = 8 << 20

    private struct Desk {
        let path: String
        let conversion: DiskConversion
        var base: String { path + "/base.img" }
        var layer: String { path + "/layer.qcow2" }
        var target: String { path + "/root.img" }
        var groups: [String] { (conversion.jail?.parent.groups() ?? []).map(\.name) }

        func write(_ pattern: UInt8, at offset: Int, into file: String, _ format: String) throws {
            try DiskConversionTests.tool("qemu-io", "-f", format, "-c", "write -P \(pattern) \(offset) 64k", file)
        }
    }

    @discardableResult
    private static func tool(_ words: String...) throws -> Int32 {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = words
        process.standardOutput = FileHandle.nullDevice
        try process.run()
        process.waitUntilExit()
        try #require(process.terminationStatus == 0, "\(words)")
        return process.terminationStatus
    }

    private func withDesk(_ body: (Desk) async throws -> Void) async throws {
        let path = NSTemporaryDirectory() + "martlet-disk-\(UUID().uuidString.prefix(8))"
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        // Nobody else's, as images are.
        chmod(path, 0o700)
        defer { try? FileManager.default.removeItem(atPath: path) }
        let program = try await QEMUInstallation.find().diskTool
        let jail = try await QEMUJail(
            configuration: .init(
                jailer: "\(DiskConversionTests.repository)/libexec/martlet-jailer", dataDirectory: path),
            program: program, directory: path)
        let desk = Desk(path: path, conversion: DiskConversion(program: program, jail: jail))
        defer { jail.parent.remove() }
        try Self.tool("truncate", "-s", "\(Self.bytes)", desk.base)
        try await createEmptyLayer(at: desk.layer, bytes: Self.bytes)
        try await body(desk)
        #expect(desk.groups.isEmpty)
    }

    private func byte(_ path: String, at offset: UInt64) throws -> UInt8 {
        let file = try Descriptor.open(path, O_RDONLY)
        return try #require(try file.read(upTo: 1, at: offset).first)
    }

    @Test func `what layers hold lies over what is below, and holes stay`() async throws {
        try await withDesk { desk in
            try desk.write(3, at: 1 << 20, into: desk.base, "raw")
            try desk.write(4, at: 2 << 20, into: desk.base, "raw")
            try desk.write(5, at: 2 << 20, into: desk.layer, "qcow2")
            chmod(desk.layer, 0o444)
            try await desk.conversion.flatten([desk.base, desk.layer], bytes: Self.bytes, to: desk.target)
            #expect(try byte(desk.target, at: 1 << 20) == 3)
            #expect(try byte(desk.target, at: 2 << 20) == 5)
            #expect(try byte(desk.target, at: 3 << 20) == 0)
            var info = stat()
            try #require(stat(desk.target, &info) == 0)
            #expect(info.st_uid == 0 && info.st_gid == 0 && info.st_mode & 0o777 == 0o600)
            #expect(info.st_size == Int(Self.bytes) && info.st_blocks * 512 < 1 << 20)
        }
    }

    @Test func `a layer that names files of the host gets none of them`() async throws {
        try await withDesk { desk in
            let secret = desk.path + "/secret"
            try Data(repeating: UInt8(ascii: "s"), count: Int(Self.bytes)).write(to: URL(fileURLWithPath: secret))
            chmod(desk.path, 0o755)
            // As its backing, which is said and so passed over.
            try FileManager.default.removeItem(atPath: desk.layer)
            try Self.tool("qemu-img", "create", "-q", "-f", "qcow2", "-b", secret, "-F", "raw", desk.layer)
            try await desk.conversion.flatten([desk.base, desk.layer], bytes: Self.bytes, to: desk.target)
            #expect(try byte(desk.target, at: 0) == 0)
            try FileManager.default.removeItem(atPath: desk.target)
            // As where its data are, which is opened as it says: there is no such file in the jail.
            try FileManager.default.removeItem(atPath: desk.layer)
            try Self.tool(
                "qemu-img", "create", "-q", "-f", "qcow2", "-o", "data_file=\(secret),data_file_raw=on", desk.layer,
                "\(Self.bytes)")
            try Data(repeating: UInt8(ascii: "s"), count: Int(Self.bytes)).write(to: URL(fileURLWithPath: secret))
            let error = await #expect(throws: MartletError.self) {
                try await desk.conversion.flatten([desk.base, desk.layer], bytes: Self.bytes, to: desk.target)
            }
            #expect(error?.message.contains("No such file") == true, "\(error?.message ?? "")")
            #expect(access(desk.target, F_OK) != 0)
            // Where nothing is jailed it is read: the file is what the jail keeps away, and nothing else.
            let bare = DiskConversion(program: desk.conversion.program, jail: nil)
            try await bare.flatten([desk.base, desk.layer], bytes: Self.bytes, to: desk.target)
            #expect(try byte(desk.target, at: 0) == UInt8(ascii: "s"))
        }
    }

    @Test func `a damaged layer is said, and leaves nothing`() async throws {
        try await withDesk { desk in
            try Data("QFI\u{0}".utf8).write(to: URL(fileURLWithPath: desk.layer))
            let error = await #expect(throws: MartletError.self) {
                try await desk.conversion.flatten([desk.base, desk.layer], bytes: Self.bytes, to: desk.target)
            }
            #expect(error?.message.hasPrefix("qemu-img: make a disk: qemu-img: ") == true, "\(error?.message ?? "")")
            #expect(access(desk.target, F_OK) != 0)
        }
    }

    @Test func `a disk larger than it was said to be is refused`() async throws {
        try await withDesk { desk in
            try await createEmptyLayer(at: desk.path + "/large", bytes: 64 << 20)
            await #expect(throws: MartletError.self) {
                try await desk.conversion.flatten(
                    [desk.base, desk.path + "/large"], bytes: Self.bytes, to: desk.target)
            }
            #expect(access(desk.target, F_OK) != 0)
        }
    }

    @Test func `one that is called off is ended, and leaves nothing`() async throws {
        try await withDesk { desk in
            for _ in 0..<5 {
                let task = Task {
                    try await desk.conversion.flatten([desk.base, desk.layer], bytes: Self.bytes, to: desk.target)
                }
                task.cancel()
                await #expect(throws: CancellationError.self) { try await task.value }
                #expect(access(desk.target, F_OK) != 0 && desk.groups.isEmpty)
            }
        }
    }
}
