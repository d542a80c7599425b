import GuestClient
import LinuxSystem
import Logging
import MartletAPI
import Node
import SandboxModel

/// Carries one build out: a sandbox of the parent, the steps in it, and its disk made a template.
struct TemplateBuilder: Sendable {
    /// Who programs run as where neither the parent nor a step says: the user that every template has.
    private static let standardUser = "user"
    /// The service that a start command becomes.
    private static let startService = "start"
    private static let readySeconds = 300
    /// How long a build may take in all.
    private static let limit = Duration.seconds(3600)

    let builds: TemplateBuilds
    let job: TemplateBuildJob
    let plan: BuildPlan
    let parent: NodeTemplate

    private var log: TemplateBuildLog { job.log }
    private var node: any NodeService { builds.node }

    func build() async throws -> NodeTemplate {
        try await withThrowingTaskGroup(of: NodeTemplate.self) { group in
            group.addTask { try await buildInTime() }
            group.addTask {
                try await Task.sleep(for: TemplateBuilder.limit)
                throw MartletError(.timeout, "build template: \(job.request.name): it takes more than an hour")
            }
            defer { group.cancelAll() }
            guard let made = try await group.next() else { throw CancellationError() }
            return made
        }
    }

    private func buildInTime() async throws -> NodeTemplate {
        var derivation = TemplateDerivation(
            owner: job.owner, template: job.template, name: job.request.name, tags: [:],
            recipe: plan.recipe(
                owner: job.owner, parentDigest: parent.digest ?? parent.name,
                size: [job.request.cpus, job.request.memoryMiB, job.request.extraDiskMiB]),
            parent: plan.parent.description)
        if !plan.isForced, let same = builds.index.same(recipe: derivation.recipe, owner: job.owner),
            let known = same.derivation
        {
            step("base", "CACHED all steps, of build \(same.name)")
            derivation.environment = known.environment
            derivation.user = known.user
            derivation.workingDirectory = known.workingDirectory
            return try await seal(derivation, .template, parent: same.name, startsAnew: false)
        }
        let inherited = parent.derivation
        let context = StepRunner.Context(
            user: inherited?.user ?? TemplateBuilder.standardUser, workingDirectory: inherited?.workingDirectory)
        derivation.environment = inherited?.environment ?? [:]
        derivation.user = inherited?.user
        derivation.workingDirectory = inherited?.workingDirectory
        guard !plan.steps.isEmpty else {
            step("base", "FROM \(plan.parent)")
            return try await seal(derivation, .template, parent: parent.name, context: context)
        }
        let id = SandboxID.random()
        do {
            let after = try await runSteps(in: id, context)
            derivation.environment.merge(after.environment) { $1 }
            if after.user != context.user { derivation.user = after.user }
            derivation.workingDirectory = after.workingDirectory
            return try await seal(derivation, .sandbox(id), parent: parent.name, context: after)
        } catch {
            let node = node
            // It is gone already where its disk was taken.
            try? await shielded { try await node.destroy(id) }
            throw error
        }
    }

    private func runSteps(in id: SandboxID, _ context: StepRunner.Context) async throws -> StepRunner.Context {
        step("base", "FROM \(plan.parent)")
        let request = job.request
        let disk = request.extraDiskMiB.flatMap { $0 > 0 ? parent.diskMiB + $0 : nil }
        _ = try await node.create(
            SandboxSpec(
                id: id, template: parent.name, cpus: request.cpus, memoryMiB: request.memoryMiB,
                diskMiB: disk.map { min($0, 65_536) }, hostname: "build", isolation: .microVM,
                network: SandboxNetwork(policy: plan.network))
        )
        let guest = try await node.guest(of: id)
        let log = log
        var runner = StepRunner(
            guest: guest, files: builds.files, owner: job.owner, context: context, tell: { log.line($0) })
        for (index, wanted) in plan.steps.enumerated() {
            step("\(index + 1)", "[\(index + 1)/\(plan.steps.count)] \(wanted.sentence)", index: index + 1)
            do {
                try await runner.run(wanted)
            } catch let error as MartletError {
                throw TemplateBuilder.at("\(index + 1)", error)
            }
        }
        return runner.context
    }

    /// Makes the disk a template, captured with what is to run in it.
    private func seal(
        _ derivation: TemplateDerivation, _ source: TemplateDraft.Source, parent: String,
        context: StepRunner.Context? = nil, startsAnew: Bool = true
    ) async throws -> NodeTemplate {
        step("finalize", "making the template", index: plan.steps.count + 1)
        var derivation = derivation
        for tag in job.request.tags { derivation.tags[tag] = .now }
        var draft = TemplateDraft(
            name: job.id, source: source, parent: parent, derivation: derivation, cpus: job.request.cpus,
            memoryMiB: job.request.memoryMiB)
        if startsAnew, let context { try start(context, &draft) }
        let log = log
        do {
            return try await node.deriveTemplate(draft) { log.line($0.message) }
        } catch let error as MartletError {
            throw TemplateBuilder.at("finalize", error)
        }
    }

    private func start(_ context: StepRunner.Context, _ draft: inout TemplateDraft) throws(MartletError) {
        func words(_ line: String) -> [String] { ["/bin/bash", "-l", "-c", line] }
        if let command = plan.startCommand, !command.isEmpty {
            draft.service = TemplateService(
                name: TemplateBuilder.startService, command: words(command), user: context.user,
                workingDirectory: context.workingDirectory ?? "", environment: try context.pairs,
                readiness: plan.readyCommand.map { .command(words($0)) }, readySeconds: TemplateBuilder.readySeconds,
                runsOnce: true)
        } else if let ready = plan.readyCommand, !ready.isEmpty {
            draft.warmup = [["/bin/bash", "-l", "-c", "until ( eval \"$1\" ); do sleep 1; done", "ready", ready]]
        }
    }

    private func step(_ name: String, _ message: String, index: Int = 0) {
        log.progress(
            TemplateProgress(
                stage: name, index: index, count: plan.steps.count + 1, message: message, elapsedMilliseconds: 0))
    }

    private static func at(_ step: String, _ error: MartletError) -> MartletError {
        var error = error
        error.details["step"] = step
        return error
    }
}
