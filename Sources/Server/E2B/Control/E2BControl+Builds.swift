import ControlPlane
import E2BProtocol
import HTTPTypes
import Hummingbird
import MartletAPI
import SandboxModel

/// Templates that clients build.
extension E2BControl {
    /// Lines of a log in one answer, as E2B's.
    private static let maxEntries = 100
    /// How long an archive may be sent after it was asked where to.
    private static let uploadSeconds: Int64 = 3600

    var buildEndpoints: [Endpoint] {
        let build = "/templates/{template}/builds/{build}"
        return [
            endpoint(.post, "/v3/templates", announceBuild),
            endpoint(.post, "/v2/templates", announceBuild),
            endpoint(.get, "/templates/{template}/files/{hash}", uploadPlace),
            // Whoever was told where to may send it there: clients send no key along.
            endpoint(.put, "/templates/{template}/files/{hash}", receiveFiles, isOpen: true),
            endpoint(.post, "/v2\(build)", startBuild),
            endpoint(.get, "\(build)/status", buildStatus),
            endpoint(.get, "\(build)/logs", buildLogs),
            endpoint(.post, "/templates/tags", assignTags),
            endpoint(.delete, "/templates/tags", deleteTags),
            endpoint(.get, "/templates/{template}/tags", listTags),
        ]
    }

    @Sendable private func announceBuild(_ call: APICall) async throws -> Response {
        let request = try await call.lenient(NewTemplate.self)
        guard let text = request.name ?? request.alias, !text.isEmpty else {
            throw MartletError.invalid("name", "is missing")
        }
        let name = try TemplateLabels.checkedName(text)
        var tags = request.tags ?? []
        if let tag = name.tag, !tags.contains(tag) { tags.insert(tag, at: 0) }
        let made = try await templates.builds.announce(
            TemplateRequest(
                name: name.name, tags: tags, cpus: request.cpuCount, memoryMiB: request.memoryMB,
                extraDiskMiB: request.minFreeDiskMb), caller: call.caller)
        return try E2BControl.answer(
            TemplateAnnounced(
                templateID: made.template, buildID: made.build, name: made.name, tags: made.tags), status: .accepted)
    }

    // MARK: Files

    @Sendable private func uploadPlace(_ call: APICall) async throws -> Response {
        let (template, hash) = (call.parameter("template"), call.parameter("hash"))
        let isPresent = try templates.builds.hasFiles(hash, for: template, caller: call.caller)
        let expires = Timestamp.now.adding(seconds: E2BControl.uploadSeconds)
        let token = tokens.uploadToken(template: template, hash: hash, expires: expires)
        let place = addresses.api(authority: call.request.head.authority ?? "")
        let url = "\(place)/templates/\(template)/files/\(hash)?expires=\(expires.milliseconds)&token=\(token)"
        return try E2BControl.answer(FileUploadPlace(present: isPresent, url: url), status: .created)
    }

    @Sendable private func receiveFiles(_ call: APICall) async throws -> Response {
        let (template, hash) = (call.parameter("template"), call.parameter("hash"))
        let query = try LenientQuery(call.request.uri.query)
        let expires = Timestamp(milliseconds: Int64(try query.number("expires") ?? 0))
        guard tokens.isValid(query["token"] ?? "", template: template, hash: hash, expires: expires) else {
            throw MartletError(.permissionDenied, "upload: the link is not valid, or its time is over: ask for another")
        }
        let announced = call.request.headers[.contentLength].flatMap { Int($0) }
        var pieces = call.request.body.makeAsyncIterator()
        try await templates.builds.receive(hash, for: template, announced: announced) {
            try await pieces.next().map { Array($0.readableBytesView) }
        }
        return Response(status: .ok)
    }

    // MARK: The build

    @Sendable private func startBuild(_ call: APICall) async throws -> Response {
        let request = try await call.lenient(BuildStart.self)
        let parent = try await parent(of: request, caller: call.caller)
        let wanted = request.steps ?? []
        var steps: [BuildStep] = []
        for (index, step) in wanted.enumerated() { steps.append(try BuildStep(step, index)) }
        let plan = BuildPlan(
            parent: parent, steps: steps, startCommand: request.startCmd, readyCommand: request.readyCmd,
            isForced: request.force == true || wanted.contains { $0.force == true },
            network: try await policy(NetworkPolicy(mode: .public)))
        try await templates.builds.start(
            call.parameter("build"), of: call.parameter("template"), plan, caller: call.caller)
        return Response(status: .accepted)
    }

    /// The template a build begins with. Nothing is fetched from registries: an image is one that a template of this host
    /// stands in for.
    ///
    /// - Throws: `unsupported`, `not_found`, `invalid_argument`.
    private func parent(of request: BuildStart, caller: Caller) async throws -> TemplateReference {
        if let template = request.fromTemplate, !template.isEmpty {
            let origin = try await origin(template, caller: caller)
            guard let name = origin.template else {
                throw MartletError(
                    .unsupported,
                    "fromTemplate: '\(template.prefix(100))' is a snapshot; templates are built out of templates"
                )
            }
            return try TemplateReference.parse(name, field: "fromTemplate")
        }
        guard let text = request.fromImage, !text.isEmpty else {
            throw MartletError.invalid("fromImage", "is missing, and so is fromTemplate")
        }
        guard request.fromImageRegistry == nil else {
            throw MartletError(.unsupported, "fromImageRegistry: this server fetches no images from registries")
        }
        let image = try ImageReference(text)
        if let template = try await templates.standIn(for: image.description) {
            return TemplateReference(name: template.name)
        }
        // A template's name is taken for an image's, too.
        if image.tag == "latest", let origin = try? await origin(image.name, caller: caller), let name = origin.template
        {
            return try TemplateReference.parse(name, field: "fromImage")
        }
        let known = try await templates.list(caller: caller).flatMap(\.images).sorted().joined(separator: ", ")
        throw MartletError(
            .unsupported,
            "fromImage: '\(image)' is not here: this server fetches no images from registries. Templates of it stand in for: "
                + (known.isEmpty ? "none" : known))
    }

    @Sendable private func buildStatus(_ call: APICall) async throws -> Response {
        let query = try LenientQuery(call.request.uri.query)
        let (template, id) = (call.parameter("template"), call.parameter("build"))
        let limit = min(try query.number("limit") ?? E2BControl.maxEntries, E2BControl.maxEntries)
        let offset = try query.number("logsOffset") ?? 0
        guard let log = try? templates.lines(of: id, from: offset, limit: limit, caller: call.caller) else {
            // Its log ended with an earlier daemon; if it is there, it is done.
            _ = try await templates.get(id, caller: call.caller)
            return try E2BControl.answer(
                BuildStatus(templateID: template, buildID: id, status: "ready", logEntries: []))
        }
        return try E2BControl.answer(BuildStatus(log, template: template, build: id))
    }

    @Sendable private func buildLogs(_ call: APICall) async throws -> Response {
        let query = try LenientQuery(call.request.uri.query)
        let limit = min(try query.number("limit") ?? E2BControl.maxEntries, E2BControl.maxEntries)
        let log = try templates.lines(
            of: call.parameter("build"), from: try query.number("offset") ?? 0, limit: limit, caller: call.caller)
        return try E2BControl.answer(BuildLogs(logs: log.lines.map(BuildLogEntry.init)))
    }

    // MARK: Tags

    @Sendable private func assignTags(_ call: APICall) async throws -> Response {
        let request = try await call.lenient(AssignTags.self)
        let target = try TemplateLabels.checkedName(request.target)
        let (build, tags) = try await templates.builds.assign(
            request.tags, to: TemplateReference(name: target.name, tag: target.tag), caller: call.caller)
        return try E2BControl.answer(AssignedTags(tags: tags, buildID: build), status: .created)
    }

    @Sendable private func deleteTags(_ call: APICall) async throws -> Response {
        let request = try await call.lenient(DeleteTags.self)
        try await templates.builds.remove(
            request.tags, from: try TemplateLabels.checkedName(request.name).name, caller: call.caller)
        return Response(status: .noContent)
    }

    @Sendable private func listTags(_ call: APICall) async throws -> Response {
        let name = try TemplateLabels.checkedName(call.parameter("template")).name
        let tags = try templates.builds.tags(of: name, caller: call.caller)
        return try E2BControl.answer(
            tags.map { TemplateTag(tag: $0.tag, buildID: $0.build, createdAt: $0.since.description) })
    }
}

extension BuildStep {
    /// A step as a client of E2B writes it.
    ///
    /// - Throws: `invalid_argument` naming the step.
    fileprivate init(_ step: BuildStart.Step, _ index: Int) throws(MartletError) {
        let (field, args) = ("steps[\(index)]", step.args ?? [])
        func argument(_ position: Int) -> String { args.indices.contains(position) ? args[position] : "" }
        guard !args.isEmpty else { throw .invalid(field, "\(step.type.prefix(20)) has no arguments") }
        switch step.type.uppercased() {
        case "COPY", "ADD":
            self = .copy(
                files: step.filesHash ?? "", source: argument(0), target: argument(1), owner: argument(2),
                mode: argument(3))
        case "RUN": self = .run(command: argument(0), user: args.count > 1 && !args[1].isEmpty ? args[1] : nil)
        case "ENV", "ARG":
            guard args.count.isMultiple(of: 2) else { throw .invalid(field, "ENV has a name without a value") }
            self = .environment(
                stride(from: 0, to: args.count, by: 2).map { Variable(name: args[$0], value: args[$0 + 1]) })
        case "WORKDIR": self = .workingDirectory(argument(0))
        case "USER": self = .user(argument(0))
        default: throw .invalid(field, "'\(step.type.prefix(20))' is none of COPY, RUN, ENV, WORKDIR and USER")
        }
    }
}

extension BuildStatus {
    /// How a build stands, as clients of E2B read it.
    fileprivate init(_ log: TemplateBuildLines, template: String, build: String) {
        let now = log.now
        let word =
            switch now.state {
            case "succeeded": "ready"
            case "failed": "error"
            default: now.stage == "queued" ? "waiting" : "building"
            }
        self.init(
            templateID: template, buildID: build, status: word, logEntries: log.lines.map(BuildLogEntry.init),
            reason: now.error.map {
                Reason(
                    message: $0.message, step: $0.details["step"] ?? now.stage, logEntries: [BuildLogEntry(now)])
            })
    }
}

extension BuildLogEntry {
    /// A line as clients of E2B read it.
    fileprivate init(_ build: TemplateBuild) {
        let time = build.startedAt.milliseconds + Int64(build.elapsedMilliseconds)
        self.init(
            timestamp: Timestamp(milliseconds: time).description, message: build.message,
            level: build.state == "failed" ? "error" : "info", step: build.stage)
    }
}
