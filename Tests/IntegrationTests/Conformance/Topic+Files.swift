import MartletAPI
import MartletClient
import NIOCore
import SandboxModel
import Testing

extension Topic {
    static let files = Topic(
        name: "files",
        promises: [
            Promise("every byte comes back") { world in
                let bytes = (0..<4096).map { UInt8(truncatingIfNeeded: $0) }
                try await world.client.upload(world.sandbox.id, "/tmp/bytes", bytes: bytes)
                #expect(try await world.file("/tmp/bytes") == bytes)
            },
            Promise("an empty file is a file") { world in
                let file = try await world.client.upload(world.sandbox.id, "/tmp/empty", bytes: [UInt8]())
                #expect(file.size == 0)
                #expect(try await world.file("/tmp/empty").isEmpty)
            },
            Promise("a large file is whole on both ways") { world in
                let bytes = [UInt8]((0..<(24 << 20)).map { UInt8(truncatingIfNeeded: $0 &* 31 >> 7) })
                try await world.client.upload(world.sandbox.id, "/root/large", bytes: bytes)
                try await world.expect("stat -c %s /root/large", prints: "\(bytes.count)")
                #expect(try await world.file("/root/large") == bytes)
            },
            Promise("names may be of any script") { world in
                let path = "/tmp/Ünïcode 名前 🐦.txt"
                try await world.client.upload(world.sandbox.id, path, bytes: Array("x".utf8))
                try await world.expect("cat '\(path)'", prints: "x")
                #expect(try await world.client.listFiles(world.sandbox.id, "/tmp").contains { $0.path == path })
            },
            Promise("mode and owner are as asked for") { world in
                let file = try await world.client.upload(
                    world.sandbox.id, "/tmp/owned", bytes: [1], mode: 0o640, owner: "user:user")
                #expect(file.mode == "0640")
                #expect(file.uid == 1000 && file.gid == 1000)
                try await world.expect("stat -c '%a %U:%G' /tmp/owned", prints: "640 user:user")
            },
            Promise("a write replaces as a whole") { world in
                try await world.client.upload(world.sandbox.id, "/tmp/twice", bytes: Array("long content".utf8))
                try await world.client.upload(world.sandbox.id, "/tmp/twice", bytes: Array("new".utf8))
                try await world.expect("cat /tmp/twice", prints: "new")
            },
            Promise("parents are made, and depth is obeyed") { world in
                _ = try await world.client.makeDirectory(world.sandbox.id, MakeDirectoryRequest(path: "/tmp/d/e/f"))
                try await world.client.upload(world.sandbox.id, "/tmp/d/e/f/g", bytes: [1])
                #expect(try await world.client.listFiles(world.sandbox.id, "/tmp/d").count == 1)
                #expect(try await world.client.listFiles(world.sandbox.id, "/tmp/d", depth: 3).count == 3)
            },
            Promise("files of the template are changed for this sandbox alone") { world in
                _ = try await world.shell("echo changed >> /etc/debian_version")
                let other = try await world.create()
                try await world.expect("grep -c changed /etc/debian_version", in: other, prints: "0")
                try await world.expect("grep -c changed /etc/debian_version", prints: "1")
                try await world.client.deleteSandbox(other.id)
            },
            Promise("a move is a rename, also of what the template has") { world in
                _ = try await world.client.moveFile(world.sandbox.id, from: "/etc/issue", to: "/tmp/issue")
                try await world.expect(
                    "ls /etc/issue 2>/dev/null | wc -l; test -s /tmp/issue && echo there", prints: "0\nthere")
            },
            Promise("removing needs to be told of what is inside") { world in
                _ = try await world.shell("mkdir -p /tmp/full/inner; touch /tmp/full/inner/x")
                let error = await world.failure { try await world.client.removeFile(world.sandbox.id, "/tmp/full") }
                #expect(error?.code == .failedPrecondition || error?.code == .conflict)
                try await world.client.removeFile(world.sandbox.id, "/tmp/full", recursive: true)
                try await world.expect("ls -d /tmp/full 2>/dev/null | wc -l", prints: "0")
            },
            Promise("links are told, and not followed where facts are asked for") { world in
                _ = try await world.shell("ln -s /etc/passwd /tmp/link")
                let link = try await world.client.fileInfo(world.sandbox.id, "/tmp/link")
                #expect(link.type == "symlink")
                #expect(link.target == "/etc/passwd")
            },
            Promise("what is not there is not found") { world in
                let error = await world.failure { _ = try await world.file("/no/such/file") }
                #expect(error?.code == .notFound)
            },
            Promise("changes are told as they come") { world in
                _ = try await world.shell("mkdir -p /tmp/watched")
                let events = world.client.watchFiles(world.sandbox.id, "/tmp/watched")
                let process = try await world.start(
                    StartProcessRequest(
                        cmd: .shell("while :; do touch /tmp/watched/x; rm /tmp/watched/x; sleep 0.1; done")))
                var kinds: Set<String> = []
                for try await event in events {
                    kinds.insert(event.kind)
                    if kinds.isSuperset(of: ["created", "removed"]) { break }
                }
                try await world.client.killProcess(world.sandbox.id, process.pid)
                #expect(kinds.isSuperset(of: ["created", "removed"]))
            },
            Promise("directories with many files are listed whole") { world in
                _ = try await world.shell("mkdir -p /tmp/many; cd /tmp/many; seq 1 3000 | xargs touch")
                #expect(try await world.client.listFiles(world.sandbox.id, "/tmp/many").count == 3000)
            },
            Promise("locks, sparse files and mapped files work") { world in
                _ = try await world.shell("truncate -s 1G /root/sparse; flock /root/sparse true")
                try await world.expect("stat -c %s /root/sparse", prints: "1073741824")
                let script =
                    """
                    import mmap
                    f=open('/root/m','w+b')
                    f.truncate(8192)
                    m=mmap.mmap(f.fileno(),8192)
                    m[0:3]=b'abc'
                    m.flush()
                    print(open('/root/m','rb').read(3))
                    """
                try await world.expect(ExecRequest(cmd: .arguments(["python3", "-c", script])), prints: "b'abc'\n")
            },
        ])
}
