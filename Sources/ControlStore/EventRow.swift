import GRDB
import SandboxModel

/// A row of `event`.
struct EventRow: Codable, FetchableRecord, MutablePersistableRecord {
    static let databaseTableName = "event"

    var sequence: Int64?
    var sandboxID: String
    var time: Int64
    var kind: String
    var message: String
    var details: [String: String]

    init(_ record: EventRecord) {
        sequence = nil
        sandboxID = record.sandboxID.rawValue
        time = record.time.milliseconds
        kind = record.kind
        message = record.message
        details = record.details
    }

    mutating func didInsert(_ inserted: InsertionSuccess) { sequence = inserted.rowID }

    func record() throws(MartletError) -> EventRecord {
        guard let id = SandboxID(rawValue: sandboxID) else {
            throw MartletError(.internal, "read store: event \(sequence ?? 0): its sandbox id is none")
        }
        return EventRecord(
            sequence: sequence ?? 0, sandboxID: id, time: Timestamp(milliseconds: time), kind: kind, message: message,
            details: details)
    }
}
