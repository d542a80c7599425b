import GRDB
import Glibc
import SandboxModel

/// The store of one machine: a SQLite database in WAL mode, `martlet.db` in the data directory, readable by its owner
/// only. One process at a time: the lock is held as long as this object lives.
///
/// A commit survives the end of the process at any moment; the last ones may be lost in a power cut (`synchronous`
/// is `NORMAL`), which the machines they tell of do not survive either.
package final class SQLiteStore: Sendable {
    /// The database's file.
    package let path: String
    let pool: DatabasePool
    let vault: SecretVault
    private let lock: FileLock

    /// Opens the store of a data directory, making it if it is not there, and brings its schema up to date.
    ///
    /// - Throws: `conflict` while another daemon has it, `failed_precondition` for a file that is damaged, is no
    ///   database, or comes from a newer Martlet; such a file is left as it is.
    package static func open(directory: String) throws -> SQLiteStore {
        let path = directory + "/martlet.db"
        let lock = try FileLock(path: path + ".lock", directory: directory)
        // Made here so that it never exists with wider permissions; SQLite gives its side files the same ones.
        let descriptor = Glibc.open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else {
            throw MartletError(.unavailable, "open store: \(path): \(String(cString: strerror(errno)))")
        }
        Glibc.close(descriptor)
        do {
            try check(path)
            let pool = try DatabasePool(path: path, configuration: configuration)
            try Schema.migrator.migrate(pool)
            let vault = SecretVault(path: directory + "/secrets.key")
            return SQLiteStore(path: path, pool: pool, vault: vault, lock: lock)
        } catch let error as DatabaseError {
            throw openingError(error, path: path)
        }
    }

    private init(path: String, pool: DatabasePool, vault: SecretVault, lock: FileLock) {
        self.path = path
        self.pool = pool
        self.vault = vault
        self.lock = lock
    }

    private static var configuration: Configuration {
        var configuration = Configuration()
        configuration.foreignKeysEnabled = true
        configuration.busyMode = .timeout(5)
        configuration.label = "martlet.store"
        configuration.maximumReaderCount = 2
        configuration.prepareDatabase { db in
            try db.execute(sql: "PRAGMA synchronous = NORMAL")
        }
        return configuration
    }

    /// Looks at the file without writing to it, which opening it as a pool already does.
    private static func check(_ path: String) throws {
        var configuration = Configuration()
        configuration.readonly = true
        let queue = try DatabaseQueue(path: path, configuration: configuration)
        let findings = try queue.read { db in try String.fetchAll(db, sql: "PRAGMA quick_check(1)") }
        guard findings == ["ok"] else { throw damaged(path, findings.first ?? "no answer") }
        let isNewer = try queue.read { db in try Schema.migrator.hasBeenSuperseded(db) }
        guard !isNewer else {
            throw MartletError(
                .failedPrecondition,
                "open store: \(path): a newer Martlet has written it; start that one, or another data directory")
        }
    }

    private static func openingError(_ error: DatabaseError, path: String) -> MartletError {
        switch error.resultCode {
        case .SQLITE_NOTADB, .SQLITE_CORRUPT, .SQLITE_FORMAT:
            return damaged(path, error.message ?? "it is no database")
        default:
            return mapped(error)
        }
    }

    private static func damaged(_ path: String, _ what: String) -> MartletError {
        MartletError(
            .failedPrecondition,
            "open store: \(path): the file is damaged (\(what)); it was left as it is. Restore it from a copy, or move "
                + "it away together with its -wal and -shm files to start empty: sandboxes still running are then ended",
            details: ["path": path])
    }

    /// Runs a read or write and tells its failure in our own terms.
    func perform<T: Sendable>(_ work: () async throws -> T) async throws -> T {
        do {
            return try await work()
        } catch let error as DatabaseError {
            throw SQLiteStore.mapped(error)
        } catch let error as RowDecodingError {
            throw MartletError(.internal, "read store: \(path): a row cannot be read: \(error)")
        }
    }

    private static func mapped(_ error: DatabaseError) -> MartletError {
        let what = error.message ?? "error \(error.resultCode.rawValue)"
        switch error.resultCode {
        case .SQLITE_FULL:
            return MartletError(.resourceExhausted, "write store: the disk is full", details: ["limit": "disk"])
        case .SQLITE_CONSTRAINT:
            return MartletError(.conflict, "write store: \(what)")
        case .SQLITE_BUSY, .SQLITE_IOERR, .SQLITE_CANTOPEN, .SQLITE_READONLY:
            return MartletError(.unavailable, "use store: \(what)")
        default:
            return MartletError(.internal, "use store: \(what)")
        }
    }
}
