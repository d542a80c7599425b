import Glibc
import Jail
import SandboxModel

extension QEMUArguments {
    /// The same machine as a jailed process is told of it: every path leads to where the jail has the file.
    ///
    /// - Returns: the arguments, and what has to appear in the jail for them.
    /// - Throws: `internal` for more base disks than a jail has places for.
    func jailed(_ files: MachineFiles) throws(MartletError) -> (QEMUArguments, [JailSpec.Bind]) {
        var result = self
        var binds = [JailSpec.Bind(files.directory, at: MachineFiles.place, isWritable: true)]
        func moved(_ path: String, to place: String) -> String {
            let own = files.directory + "/"
            if path.hasPrefix(own) { return files.inside(String(path.dropFirst(own.count))) }
            JailSpec.Bind.makeReadable(path)
            binds.append(JailSpec.Bind(path, at: place))
            return place
        }
        result.memory = moved(memory, to: QEMURoot.Place.memory)
        result.disk = moved(disk, to: "")
        guard baseDisks.count <= QEMURoot.Place.maxDisks else {
            throw MartletError(.internal, "qemu: a disk of \(baseDisks.count) base layers")
        }
        result.baseDisks = baseDisks.enumerated().map { moved($1, to: QEMURoot.Place.disk($0)) }
        result.consoleFile = consoleFile.map { moved($0, to: "") }
        if case .boot(let kernel, let initramfs, let commandLine) = role {
            result.role = .boot(
                kernel: moved(kernel, to: QEMURoot.Place.kernel),
                initramfs: moved(initramfs, to: QEMURoot.Place.initramfs), commandLine: commandLine)
        }
        return (result, binds)
    }
}

extension JailSpec.Bind {
    /// Images lie in directories that only we can enter, and nobody writes to them; but those made before there were jails
    /// may be readable by nobody else. Where that cannot be mended, QEMU says that it may not open the file.
    static func makeReadable(_ path: String) {
        var info = stat()
        if stat(path, &info) == 0, info.st_mode & 0o004 == 0 { chmod(path, info.st_mode & 0o777 | 0o444) }
    }
}
