import HostNetwork

/// Where a machine lives: a directory, and, if it has a network card, a slot of the host's network. Both are its own.
struct MachineHome: Sendable {
    var directory: String
    var slot: NetworkSlot?
}
