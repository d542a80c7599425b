import GRDB

/// The database's history. A migration, once released, never changes and uses no type of the program.
enum Schema {
    static var migrator: DatabaseMigrator {
        var migrator = DatabaseMigrator()
        migrator.registerMigration("1 sandboxes, keys, events") { db in
            try createKeys(db)
            try createSandboxes(db)
            try createEvents(db)
            try createIdempotency(db)
        }
        migrator.registerMigration("2 snapshots") { db in
            try extendSandboxes(db)
            try createSnapshots(db)
        }
        migrator.registerMigration("3 networks") { db in
            try addNetworks(db)
        }
        migrator.registerMigration("4 dialects") { db in
            try db.alter(table: "sandbox") { table in table.add(column: "dialect", .text) }
        }
        migrator.registerMigration("5 published ports") { db in try createPorts(db) }
        return migrator
    }

    /// Sandboxes and snapshots of before have no network.
    private static func addNetworks(_ db: Database) throws {
        try db.alter(table: "sandbox") { table in
            table.add(column: "network", .text)
            table.add(column: "secrets", .blob)
            table.add(column: "secretFacts", .text)
        }
        try db.alter(table: "snapshot") { table in table.add(column: "network", .text) }
    }

    /// Goes with its sandbox.
    private static func createPorts(_ db: Database) throws {
        try db.create(table: "publishedPort") { table in
            table.column("sandboxID", .text).notNull().references("sandbox", onDelete: .cascade)
            table.column("port", .integer).notNull().check { $0 >= 1 && $0 <= 65535 }
            table.column("visibility", .text).notNull()
            table.column("wake", .boolean)
            table.column("tokenHash", .blob).check { length($0) == 32 }
            table.column("createdAt", .integer).notNull()
            table.column("expiresAt", .integer)
            table.primaryKey(["sandboxID", "port"])
        }
    }

    private static func extendSandboxes(_ db: Database) throws {
        try db.alter(table: "sandbox") { table in
            table.add(column: "onTimeout", .text).notNull().defaults(to: "kill")
            table.add(column: "isRecorded", .boolean).notNull().defaults(to: false)
            table.add(column: "pausedAt", .integer)
            table.add(column: "capture", .text)
            table.add(column: "currentSnapshot", .text)
            table.add(column: "nextCheckpoint", .integer).notNull().defaults(to: 0)
        }
    }

    /// No reference to `sandbox`: a snapshot outlives what it was taken of.
    private static func createSnapshots(_ db: Database) throws {
        try db.create(table: "snapshot") { table in
            table.primaryKey("id", .text)
            table.column("keyID", .text).references("apiKey", onDelete: .restrict)
            table.column("name", .text)
            table.column("kind", .text).notNull()
            table.column("number", .integer)
            table.column("sandboxID", .text).notNull()
            table.column("parent", .text)
            table.column("template", .text).notNull()
            table.column("engine", .text).notNull()
            table.column("accelerator", .text).notNull()
            table.column("level", .text).notNull()
            table.column("cpus", .integer).notNull()
            table.column("memoryMiB", .integer).notNull()
            table.column("diskMiB", .integer).notNull()
            table.column("createdAt", .integer).notNull()
            table.column("capture", .text).notNull()
            table.column("metadata", .text).notNull()
            table.column("isDeleting", .boolean).notNull()
        }
        try db.execute(
            sql: """
                CREATE UNIQUE INDEX snapshotReadyName ON snapshot(name) WHERE name IS NOT NULL AND NOT isDeleting
                """)
        try db.create(index: "snapshotSandboxID", on: "snapshot", columns: ["sandboxID", "number"])
        try db.create(index: "snapshotParent", on: "snapshot", columns: ["parent"])
    }

    private static func createKeys(_ db: Database) throws {
        try db.create(table: "apiKey") { table in
            table.primaryKey("id", .text)
            table.column("hash", .blob).notNull().unique().check { length($0) == 32 }
            table.column("label", .text).notNull()
            table.column("isAdmin", .boolean).notNull()
            table.column("createdAt", .integer).notNull()
            table.column("maxSandboxes", .integer)
            table.column("revokedAt", .integer)
        }
    }

    private static func createSandboxes(_ db: Database) throws {
        try db.create(table: "sandbox") { table in
            table.primaryKey("id", .text)
            table.column("keyID", .text).references("apiKey", onDelete: .restrict)
            table.column("name", .text)
            table.column("template", .text).notNull()
            table.column("state", .text).notNull()
            table.column("reason", .text)
            table.column("engine", .text).notNull()
            table.column("accelerator", .text).notNull()
            table.column("level", .text).notNull()
            table.column("cpus", .integer).notNull()
            table.column("memoryMiB", .integer).notNull()
            table.column("diskMiB", .integer).notNull()
            table.column("createdAt", .integer).notNull()
            table.column("expiresAt", .integer).notNull()
            table.column("timeoutSeconds", .integer).notNull()
            table.column("metadata", .text).notNull()
            table.column("parent", .text)
            table.column("fromSnapshot", .text)
            table.column("createReport", .text).notNull()
        }
        try db.execute(
            sql: """
                CREATE UNIQUE INDEX sandboxLiveName ON sandbox(name)
                WHERE name IS NOT NULL AND state NOT IN ('stopped', 'failed')
                """)
        try db.create(index: "sandboxKeyID", on: "sandbox", columns: ["keyID"])
    }

    /// No reference to `sandbox`: the history outlives what it tells of.
    private static func createEvents(_ db: Database) throws {
        try db.create(table: "event") { table in
            table.autoIncrementedPrimaryKey("sequence")
            table.column("sandboxID", .text).notNull()
            table.column("time", .integer).notNull()
            table.column("kind", .text).notNull()
            table.column("message", .text).notNull()
            table.column("details", .text).notNull()
        }
        try db.create(index: "eventSandboxID", on: "event", columns: ["sandboxID", "sequence"])
    }

    private static func createIdempotency(_ db: Database) throws {
        try db.create(table: "idempotency") { table in
            table.column("keyID", .text).notNull()
            table.column("key", .text).notNull()
            table.column("requestHash", .blob).notNull()
            table.column("sandboxID", .text).notNull()
            table.column("createdAt", .integer).notNull()
            table.primaryKey(["keyID", "key"])
        }
        try db.create(index: "idempotencyCreatedAt", on: "idempotency", columns: ["createdAt"])
    }
}
