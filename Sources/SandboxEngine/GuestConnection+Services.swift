import GuestClient
import GuestProtocol
import SandboxModel

extension GuestConnection {
    /// How often it is looked whether a service is ready: none of the signs comes with an event.
    private static let interval: Duration = .milliseconds(100)

    /// Starts services, and returns when all are ready.
    ///
    /// - Parameters:
    ///   - environment: `NAME=value` pairs of the template, under those of each service.
    ///   - progress: told what is waited for.
    /// - Throws: `failed_precondition` naming the service, with the end of its output, when it ends or is not ready in
    ///   its time.
    package func startServices(
        _ services: [TemplateService], environment: [String], progress: @Sendable (String) -> Void = { _ in }
    ) async throws {
        for service in services {
            progress("starting service \(service.name)")
            let given = environment + service.environment
            let request = StartProcess(
                arguments: service.command, environment: given, workingDirectory: service.workingDirectory,
                user: service.user, attach: .lossy, replayBytes: 65_536)
            let pid: Int32
            do {
                pid = try await service.runsOnce ? startAlone(request) : supervise(request)
            } catch let error as MartletError where error.code == .invalidArgument {
                throw MartletError(.failedPrecondition, "start service: \(service.name): \(error.message)")
            }
            try await waitUntilReady(service, pid, given)
        }
    }

    /// Starts a process that nobody follows.
    private func startAlone(_ request: StartProcess) async throws -> Int32 {
        let process = try await start(request)
        process.stream.cancel()
        return process.pid
    }

    private func waitUntilReady(_ service: TemplateService, _ pid: Int32, _ environment: [String]) async throws {
        guard let readiness = service.readiness else { return }
        let clock = ContinuousClock()
        let end = clock.now + .seconds(service.readySeconds)
        while try await !isReady(readiness, service, environment) {
            if let exit = try await process(pid).exit, !service.runsOnce || exit.code != 0 {
                throw await failure(service, pid, "it has ended")
            }
            guard clock.now < end else {
                throw await failure(service, pid, "it is not ready after \(service.readySeconds) s")
            }
            try await Task.sleep(for: GuestConnection.interval)
        }
    }

    private func isReady(
        _ readiness: TemplateService.Readiness, _ service: TemplateService, _ environment: [String]
    ) async throws -> Bool {
        do {
            switch readiness {
            case .port(let port):
                try await connect(port: port).close()
                return true
            case .file(let path):
                _ = try await stat(path)
                return true
            case .command(let words):
                let request = StartProcess(
                    arguments: words, environment: environment, workingDirectory: service.workingDirectory,
                    user: service.user, timeoutMilliseconds: UInt64(service.readySeconds) * 1000)
                let outcome = try await exec(request, outputLimit: 4096)
                try await forget(outcome.pid)
                return outcome.exit.code == 0
            }
        } catch let error as MartletError
            where error.details["reason"] == "port_closed" || error.code == .notFound
        {
            return false
        }
    }

    /// What went wrong with a service, with what it said last.
    private func failure(_ service: TemplateService, _ pid: Int32, _ why: String) async -> MartletError {
        var said: [UInt8] = []
        if let info = try? await process(pid) {
            let start = max(info.firstOffset, info.outputBytes - min(info.outputBytes, 2048))
            let follower = try? await attach(AttachProcess(pid: pid, offset: start, mode: .lossy))
            while UInt64(said.count) < info.outputBytes - min(info.outputBytes, start),
                case .output(_, _, let bytes)? = try? await follower?.next()
            {
                said += bytes
            }
            follower?.stream.cancel()
        }
        let tail = String(decoding: said.suffix(600).filter { $0 == 10 || (32..<127).contains($0) }, as: UTF8.self)
        return MartletError(
            .failedPrecondition, "start service: \(service.name): \(why)" + (tail.isEmpty ? "" : ": \(tail)"))
    }
}
