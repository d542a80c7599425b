import Glibc
import Jail
import LinuxSystem

/// Says on standard error what went wrong, and ends.
func fail(_ text: String, _ code: Int32) -> Never {
    try? Descriptor(owning: 2).writeAll(Array("\(text)\n".utf8))
    exit(code)
}

// martlet-jailer DESCRIPTOR NAME: reads what to become from the descriptor. The name is for whoever lists processes.
guard CommandLine.arguments.count == 3, let descriptor = Int32(CommandLine.arguments[1]) else {
    fail("martlet-jailer is started by martlet; it is of no use by itself", 2)
}
do {
    try Jailer.run(specDescriptor: descriptor)
} catch {
    fail("\(error)", Jailer.exitCode)
}
