import Foundation
import MartletAPI
import MartletClient
import Testing

/// A program with all that a capture must carry over: memory, threads, an open file, a listening socket with a connection
/// inside the sandbox, a terminal and a child.
struct Resident: Sendable {
    let world: ConformanceWorld
    let pid: Int32

    struct Answer: Sendable {
        var secret: String
        var count: Int
        var file: String
        var terminal: String
    }

    private static let program = """
        import os,secrets,socket,subprocess,threading,time
        secret=secrets.token_hex(8)
        count=0
        def tick():
          global count
          while True: time.sleep(0.01); count+=1
        threading.Thread(target=tick,daemon=True).start()
        f=open('/root/resident','w+')
        master,slave=os.openpty()
        child=subprocess.Popen(['cat'],stdin=subprocess.PIPE,stdout=subprocess.PIPE)
        server=socket.socket()
        server.setsockopt(socket.SOL_SOCKET,socket.SO_REUSEADDR,1)
        server.bind(('127.0.0.1',7373))
        server.listen(8)
        inner=socket.create_connection(('127.0.0.1',7373))
        outer,_=server.accept()
        print('up',flush=True)
        while True:
          c,_=server.accept()
          word=c.recv(100).decode()
          inner.sendall(word.encode())
          word=outer.recv(100).decode()
          child.stdin.write((word+'\\n').encode()); child.stdin.flush()
          word=child.stdout.readline().decode().strip()
          f.seek(0,2); f.write((',' if f.tell() else '')+word); f.flush(); f.seek(0)
          os.write(slave,word.encode())
          c.sendall(f'{secret} {count} {f.read()} {os.read(master,100).decode()}'.encode())
          c.close()
        """

    static func start(in world: ConformanceWorld) async throws -> Resident {
        let process = try await world.start(StartProcessRequest(cmd: .arguments(["python3", "-c", program])))
        _ = try await world.wait(for: "up", from: process.pid)
        return Resident(world: world, pid: process.pid)
    }

    /// Sends a word through all of it.
    func ask(_ word: String, in other: SandboxResource? = nil) async throws -> Answer {
        let ask = """
            import socket,sys
            c=socket.create_connection(('127.0.0.1',7373)); c.sendall(sys.argv[1].encode())
            print(c.recv(1000).decode())
            """
        let result = try await world.run(ExecRequest(cmd: .arguments(["python3", "-c", ask, word])), in: other)
        let words = (result.stdout ?? "").split(whereSeparator: \.isWhitespace).map(String.init)
        try #require(words.count == 4, "\(result.stdout ?? "") \(result.stderr ?? "")")
        return Answer(secret: words[0], count: Int(words[1]) ?? -1, file: words[2], terminal: words[3])
    }
}
