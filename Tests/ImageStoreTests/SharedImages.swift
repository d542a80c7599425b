import Glibc
import ImageStore
import LinuxSystem
import Logging
import SandboxModel
import Testing

/// The images that all tests and the developer share: building them takes most of a minute, once.
enum SharedImages {
    private static let repository = "/" + #filePath.split(separator: "/").dropLast(3).joined(separator: "/")
    static let directory = variable("MARTLET_TEST_IMAGES") ?? repository + "/.cache/images"
    static let templates = repository + "/templates"
    static let agent = variable("MARTLET_GUEST_AGENT") ?? repository + "/libexec/martlet-guest"

    static let hasAgent = access(agent, R_OK) == 0
    static let canBuild = geteuid() == 0 && access("/usr/bin/mmdebstrap", X_OK) == 0

    static func open() throws -> ImageStore {
        try ImageStore(
            directory: directory, templatesDirectory: templates, guestAgent: agent, logger: Logger(label: "test"))
    }

    private static func variable(_ name: String) -> String? { getenv(name).map { String(cString: $0) } }
}

extension StoreFixture {
    /// Gives this store the built template `base` without building it: hard links to the shared files.
    ///
    /// A test that damages a file puts another in its place; the shared one stays what it is.
    func adoptBase() async throws {
        let image = try await SharedImages.open().build(named: "base", force: false) { _ in }
        _ = try open()
        try define("base", text(SharedImages.templates + "/base/template.yaml"))
        for part in [image.rootDisk, image.kernel] {
            let directory = part.split(separator: "/").dropLast()
            let target = "\(store)/\(directory.suffix(2).joined(separator: "/"))"
            mkdir(target, 0o700)
            try link("/" + directory.joined(separator: "/"), target)
        }
        let record = try text(SharedImages.directory + "/templates/base.json")
        try write(record, to: store + "/templates/base.json")
    }

    private func link(_ from: String, _ to: String) throws {
        for name in StoreFiles.list(from) {
            let (source, target) = ("\(from)/\(name)", "\(to)/\(name)")
            if Glibc.link(source, target) == 0 { continue }
            // Only directories cannot be linked; both stores are in different file systems otherwise.
            if mkdir(target, 0o700) == 0 { try link(source, target) }
        }
    }
}
