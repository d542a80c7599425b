import Foundation
import Glibc
import LinuxSystem
import SandboxModel
import Testing

@testable import FirecrackerEngine

@Suite(.timeLimit(.minutes(2)))
struct KernelImageTests {
    /// The kernel of a built template, if there is one.
    static let kernel: String? = {
        let repository = "/" + #filePath.split(separator: "/").dropLast(3).joined(separator: "/")
        let images = getenv("MARTLET_TEST_IMAGES").map { String(cString: $0) } ?? repository + "/.cache/images"
        let names = (try? FileManager.default.contentsOfDirectory(atPath: "\(images)/kernels")) ?? []
        return names.sorted().map { "\(images)/kernels/\($0)/vmlinuz" }.first { access($0, R_OK) == 0 }
    }()

    /// An image around a payload, by the boot protocol.
    private func image(_ payload: [UInt8], version: UInt8 = 0x0f, offset: UInt32 = 0, length: UInt32? = nil) -> [UInt8]
    {
        var bytes = [UInt8](repeating: 0, count: 1024)
        bytes[0x1f1] = 1
        bytes.replaceSubrange(0x202..<0x206, with: Array("HdrS".utf8))
        bytes[0x206] = version
        bytes[0x207] = 2
        func put(_ value: UInt32, _ at: Int) {
            for byte in 0..<4 { bytes[at + byte] = UInt8(truncatingIfNeeded: value >> (8 * UInt32(byte))) }
        }
        put(offset, 0x248)
        put(length ?? UInt32(payload.count), 0x24c)
        return bytes + payload
    }

    private let xz: [UInt8] =
        [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00] + [UInt8](repeating: 1, count: 20) + [0x00, 0x10, 0x00, 0x00]

    @Test func findsThePayload() throws {
        let found = try KernelImage.payload(of: image(xz), named: "k")
        #expect(found == .init(compression: .xz, range: 1024..<1050, size: 4096))
        var gzip = xz
        gzip.replaceSubrange(0..<2, with: [0x1f, 0x8b])
        #expect(try KernelImage.payload(of: image(gzip), named: "k").range == 1024..<1054)
    }

    @Test func refusesWhatIsNoImage() {
        let images = [
            [], [UInt8](repeating: 0, count: 4096), image(xz, version: 7), image(xz, offset: 100),
            image(xz, length: .max), image(xz, length: 3), image([UInt8](repeating: 9, count: 30)),
            image(Array(xz.dropLast(4)) + [255, 255, 255, 255]),
        ]
        for image in images {
            let error = #expect(throws: MartletError.self) { try KernelImage.payload(of: image, named: "k") }
            #expect(error?.code == .failedPrecondition && error?.message.hasPrefix("unpack kernel: k: ") == true)
        }
    }

    @Test func leavesNothingOfADamagedOne() async throws {
        let folder = NSTemporaryDirectory() + "martlet-kernel-\(UUID().uuidString.prefix(8))"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        try Data(image(xz)).write(to: URL(fileURLWithPath: folder + "/vmlinuz"))
        let error = await #expect(throws: MartletError.self) {
            try await KernelImage.unpack(folder + "/vmlinuz", to: folder + "/vmlinux")
        }
        #expect(error?.message.contains("xz failed") == true)
        #expect(try FileManager.default.contentsOfDirectory(atPath: folder) == ["vmlinuz"])
    }

    @Test(.enabled(if: kernel != nil, "no template is built"))
    func unpacksDebiansKernel() async throws {
        let folder = NSTemporaryDirectory() + "martlet-kernel-\(UUID().uuidString.prefix(8))"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        try await KernelImage.unpack(try #require(KernelImageTests.kernel), to: folder + "/vmlinux")
        let file = try Descriptor.open(folder + "/vmlinux", O_RDONLY)
        // ELF, 64 bits, little-endian, a program for x86-64.
        #expect(try file.read(upTo: 6, at: 0) == [0x7f, 0x45, 0x4c, 0x46, 2, 1])
        #expect(try file.read(upTo: 4, at: 16) == [2, 0, 62, 0])
        #expect(lseek(file.number, 0, SEEK_END) > 20 << 20)
        #expect(try FileManager.default.contentsOfDirectory(atPath: folder) == ["vmlinux"])
    }
}
