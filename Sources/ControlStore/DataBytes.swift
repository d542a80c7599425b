import FoundationEssentials

/// Bytes in a BLOB column: the type GRDB stores as such.
typealias DataBytes = Data
