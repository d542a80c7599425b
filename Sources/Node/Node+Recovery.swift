import FoundationEssentials
import GuestClient
import LinuxSystem
import Logging
import NIOPosix
import SandboxEngine
import SandboxModel

extension Node {
    /// Takes over what an earlier daemon left: sandboxes go on with their processes; everything else is ended and
    /// removed. Call once, before the first create.
    package func recover() async throws {
        let root = "\(configuration.directory)/machines"
        let names = try await NIOThreadPool.singleton.runIfActive {
            try FileManager.default.contentsOfDirectory(atPath: root)
        }
        for name in names {
            let directory = "\(root)/\(name)"
            if await adopt(directory) { continue }
            for engine in engines { await engine.reclaim(directory) }
            await Node.removeDirectory(directory)
            logger.info("reclaimed a machine", metadata: ["machine": "\(name)"])
        }
    }

    private func adopt(_ directory: String) async -> Bool {
        guard let file = try? SandboxFile.read(in: directory), let id = SandboxID(rawValue: file.id),
            let engine = engines.first(where: { $0.name == file.isolation.engine })
        else { return false }
        do {
            guard let machine = try await engine.adopt(file.image, in: directory) else { return false }
            do {
                try await machine.resume()
                _ = try await machine.guest.ping(timeout: .seconds(10))
            } catch {
                await machine.kill()
                throw error
            }
            let info = NodeSandbox(
                id: id, template: file.template, isolation: file.isolation, shape: file.shape, diskMiB: file.diskMiB,
                report: file.report, isAdopted: true)
            register(
                RunningSandbox(info: info, machine: machine, directory: directory, imageDigest: file.imageDigest))
            logger.info("adopted a sandbox", metadata: ["sandbox.id": "\(id)"])
            return true
        } catch {
            logger.warning("could not adopt a sandbox", metadata: ["sandbox.id": "\(id)", "error": "\(error)"])
            return false
        }
    }
}
