import GuestClient
import GuestProtocol
import Node
import SandboxModel
import Testing

/// A Python program that stays: it answers questions in the sandbox it was started in and in all that go on from it.
enum Resident {
    private static let before = """
        import os, sys, threading, time, traceback

        """

    private static let after = """


        while True:
            with open('/run/resident/ask') as pipe: question = pipe.read().strip()
            try: text = 'ready' if question == 'ready?' else str(answer(question))
            except BaseException: text = 'ERROR ' + traceback.format_exc()
            with open('/run/resident/answer', 'w') as pipe: pipe.write(text)
        """

    static func program(_ body: String) -> String { before + body + after }
}

extension NodeFixture {
    /// Starts one, and returns when it answers.
    ///
    /// - Parameter body: Python; defines `answer(question)`.
    func startResident(_ body: String, in sandbox: NodeSandbox) async throws {
        _ = try await shell("mkdir /run/resident; mkfifo /run/resident/ask /run/resident/answer", in: sandbox)
        let guest = try await node.guest(of: sandbox.id)
        _ = try await guest.start(
            StartProcess(arguments: ["python3", "-c", Resident.program(body)], attach: .exitOnly))
        #expect(try await ask("ready?", in: sandbox) == "ready")
    }

    /// Asks the program; one that does not answer, having died for instance, fails the test.
    func ask(_ question: String, in sandbox: NodeSandbox) async throws -> String {
        let answer = try await output(
            of: "timeout", "60", "/bin/sh", "-c", "echo \"$1\" > /run/resident/ask; cat /run/resident/answer", "sh",
            question, in: sandbox)
        #expect(!answer.hasPrefix("ERROR"), "\(answer)")
        return answer
    }
}
