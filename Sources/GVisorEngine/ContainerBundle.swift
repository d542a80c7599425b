/// The part of an OCI runtime specification (config.json) that our containers use; see the specification's config.md.
struct ContainerBundle: Encodable {
    struct Process: Encodable {
        var user = ["uid": 0, "gid": 0]
        var args: [String]
        var env = ["PATH=/usr/bin:/bin"]
        var cwd = "/"
        var noNewPrivileges = true
        var capabilities: [String: [String]]
        var rlimits: [Limit]
    }

    struct Limit: Encodable {
        var type: String
        var hard: UInt64
        var soft: UInt64

        init(_ type: String, _ value: UInt64) {
            self.type = type
            hard = value
            soft = value
        }
    }

    struct Root: Encodable {
        var path: String
        var readonly = false
    }

    struct Mount: Encodable {
        var destination: String
        var type: String
        var source: String
        var options: [String] = []
    }

    struct Namespace: Encodable {
        var type: String
        var path: String?
    }

    struct Linux: Encodable {
        var namespaces: [Namespace]
    }

    var ociVersion = "1.0.2"
    var process: Process
    var root: Root
    var hostname = "sandbox"
    var mounts: [Mount]
    var linux: Linux
}
