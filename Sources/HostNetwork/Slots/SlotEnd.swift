/// What a slot has on its machine's side.
package enum SlotEnd: Sendable, CaseIterable {
    /// A tap, held by a VMM.
    case tap
    /// One end of a link, whose other end is moved into a machine's own namespace. It has the tap's name and addresses, so
    /// that the rules are the same.
    case link
}
