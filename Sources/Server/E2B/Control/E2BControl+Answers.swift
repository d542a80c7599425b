import ControlPlane
import E2BProtocol
import MartletAPI
import SandboxModel

/// Sandboxes as E2B's clients see them.
extension E2BControl {
    /// The sandbox a request names. One that has failed is gone for these clients.
    ///
    /// - Throws: `not_found`.
    func find(_ call: APICall) throws -> (sandbox: SandboxResource, settings: SandboxSettings) {
        let sandbox = try sandboxes.get(call.sandbox, caller: call.caller)
        guard [.running, .pausing, .paused, .resuming].contains(sandbox.state) else {
            throw MartletError(
                .notFound, "sandbox \"\(sandbox.id)\" doesn't exist or you don't have access to it")
        }
        return (sandbox, try settings(of: sandbox, call))
    }

    /// What was asked for beside; one that was not made by a client of E2B has what is strict.
    func settings(of sandbox: SandboxResource, _ call: APICall) throws -> SandboxSettings {
        let text = try sandboxes.dialect(of: sandbox.id, caller: call.caller)
        return text.flatMap(SandboxSettings.init)
            ?? SandboxSettings(
                templateID: sandbox.template, alias: sandbox.template, autoResume: sandbox.onTimeout == .pause)
    }

    func told(_ sandbox: SandboxResource, _ settings: SandboxSettings) throws -> SandboxMade {
        let id = try E2BControl.id(of: sandbox)
        return SandboxMade(
            templateID: settings.templateID, sandboxID: sandbox.id, envdAccessToken: tokens.token(.control, of: id),
            alias: settings.alias, trafficAccessToken: settings.isPublic ? nil : tokens.token(.traffic, of: id),
            domain: addresses.domainWithPort)
    }

    func listed(_ sandbox: SandboxResource, _ call: APICall) throws -> SandboxDetail {
        try detail(sandbox, try settings(of: sandbox, call), isAlone: false)
    }

    func detail(_ sandbox: SandboxResource, _ settings: SandboxSettings, isAlone: Bool) throws -> SandboxDetail {
        var detail = SandboxDetail(
            templateID: settings.templateID, alias: settings.alias, sandboxID: sandbox.id,
            startedAt: sandbox.createdAt.description,
            endAt: (sandbox.expiresAt ?? sandbox.pausedAt ?? sandbox.createdAt).description, cpuCount: sandbox.cpus,
            memoryMB: sandbox.memoryMiB, diskSizeMB: sandbox.diskMiB, metadata: sandbox.metadata,
            state: sandbox.state == .paused ? "paused" : "running")
        guard isAlone else { return detail }
        detail.envdAccessToken = tokens.token(.control, of: try E2BControl.id(of: sandbox))
        detail.domain = addresses.domainWithPort
        detail.lifecycle = .init(onTimeout: sandbox.onTimeout.rawValue, autoResume: settings.autoResume)
        detail.allowInternetAccess = settings.internetAccess
        detail.network = settings.network
        if sandbox.state == .paused {
            detail.pauseMode = settings.pausedWithMemory ?? settings.keepsMemory ? "full" : "filesystem"
        }
        return detail
    }

    static func id(of sandbox: SandboxResource) throws(MartletError) -> SandboxID {
        guard let id = SandboxID(rawValue: sandbox.id) else {
            throw MartletError(.internal, "sandbox: \(sandbox.id): its id is none")
        }
        return id
    }
}
