import FoundationEssentials

// Bodies of the routes by which E2B's clients build templates and tag them, as in spec/openapi.yml of e2b-dev/infra.

/// `POST /v3/templates` and `POST /v2/templates`.
package struct NewTemplate: Decodable, Sendable {
    package var name: String?
    /// What older clients call the name.
    package var alias: String?
    package var tags: [String]?
    package var cpuCount: Int?
    package var memoryMB: Int?
    package var minFreeDiskMb: Int?
}

/// A build that was announced.
package struct TemplateAnnounced: Encodable, Sendable {
    package var templateID: String
    package var buildID: String
    package var `public` = false
    package var names: [String]
    package var tags: [String]
    package var aliases: [String]

    package init(templateID: String, buildID: String, name: String, tags: [String]) {
        self.templateID = templateID
        self.buildID = buildID
        names = [name]
        self.tags = tags
        aliases = [name]
    }
}

/// `POST /v2/templates/{id}/builds/{id}`.
package struct BuildStart: Decodable, Sendable {
    package struct Step: Decodable, Sendable {
        package var type: String
        package var args: [String]?
        package var filesHash: String?
        package var force: Bool?
    }
    package struct Registry: Decodable, Sendable { package var type: String? }

    package var fromImage: String?
    package var fromTemplate: String?
    package var fromImageRegistry: Registry?
    package var force: Bool?
    package var steps: [Step]?
    package var startCmd: String?
    package var readyCmd: String?
}

/// Where an archive is to be sent.
package struct FileUploadPlace: Encodable, Sendable {
    package var present: Bool
    package var url: String

    package init(present: Bool, url: String) {
        self.present = present
        self.url = url
    }
}

/// One line of a build's log.
package struct BuildLogEntry: Encodable, Sendable {
    package var timestamp: String
    package var message: String
    package var level: String
    package var step: String?

    package init(timestamp: String, message: String, level: String, step: String?) {
        self.timestamp = timestamp
        self.message = message
        self.level = level
        self.step = step
    }
}

/// How a build stands.
package struct BuildStatus: Encodable, Sendable {
    package struct Reason: Encodable, Sendable {
        package var message: String
        package var step: String?
        package var logEntries: [BuildLogEntry]

        package init(message: String, step: String?, logEntries: [BuildLogEntry]) {
            self.message = message
            self.step = step
            self.logEntries = logEntries
        }
    }

    package var templateID: String
    package var buildID: String
    /// `waiting`, `building`, `ready` or `error`.
    package var status: String
    package var logs: [String] = []
    package var logEntries: [BuildLogEntry]
    package var reason: Reason?

    package init(
        templateID: String, buildID: String, status: String, logEntries: [BuildLogEntry], reason: Reason? = nil
    ) {
        self.templateID = templateID
        self.buildID = buildID
        self.status = status
        self.logEntries = logEntries
        self.reason = reason
    }
}

/// `GET /templates/{id}/builds/{id}/logs`.
package struct BuildLogs: Encodable, Sendable {
    package var logs: [BuildLogEntry]

    package init(logs: [BuildLogEntry]) { self.logs = logs }
}

/// `POST /templates/tags`.
package struct AssignTags: Decodable, Sendable {
    /// `name:tag` of the build that is to have them.
    package var target: String
    package var tags: [String]
}

/// `DELETE /templates/tags`.
package struct DeleteTags: Decodable, Sendable {
    package var name: String
    package var tags: [String]
}

/// Tags that lead to one build now.
package struct AssignedTags: Encodable, Sendable {
    package var tags: [String]
    package var buildID: String

    package init(tags: [String], buildID: String) {
        self.tags = tags
        self.buildID = buildID
    }
}

/// One tag of a template.
package struct TemplateTag: Encodable, Sendable {
    package var tag: String
    package var buildID: String
    package var createdAt: String

    package init(tag: String, buildID: String, createdAt: String) {
        self.tag = tag
        self.buildID = buildID
        self.createdAt = createdAt
    }
}
