"""What every kind of kernel is to the server."""

import os
import shutil
import time

RUN = "/run/martlet-code"
# The kernel goes before the server does when memory runs out.
KERNEL_SCORE = 300
# Of one execution, everything together. What is over is dropped, and the client is told once.
MAX_OUTPUT = 32 * 1024 * 1024


def prepare_directory(path, account):
    """Makes an empty directory that only a kernel and the server can look into."""
    os.makedirs(RUN, mode=0o711, exist_ok=True)
    shutil.rmtree(path, ignore_errors=True)
    os.mkdir(path, 0o700)
    os.chown(path, account.uid, account.gid)


class KernelDied(Exception):
    """The kernel has ended, asked or not."""

    def __init__(self, why):
        super().__init__(why)
        self.why = why


def ending(code):
    """How a process ended, in words; `code` is negative for a signal."""
    if code is None:
        return "it has ended"
    if code == -9:
        return "it was killed by signal 9, as happens when memory runs out"
    if code < 0:
        return f"it was killed by signal {-code}"
    return f"it ended with exit code {code}"


class Output:
    """Takes what an execution produces and makes the client's events of it, within a limit."""

    def __init__(self, emit):
        self.emit = emit
        self.left = MAX_OUTPUT
        self.is_over = False

    def text(self, channel, text):
        if 0 < self.left < len(text):
            self.emit({"type": channel, "text": text[:self.left], "timestamp": time.time_ns()})
        if text and self.takes(len(text)):
            self.emit({"type": channel, "text": text, "timestamp": time.time_ns()})

    def result(self, bundle, is_main):
        size = sum(len(value) if isinstance(value, str) else 256 for value in bundle.values())
        if self.takes(size):
            self.emit(result_of(bundle, is_main))

    def error(self, name, value, traceback):
        self.emit({
            "type": "error", "name": name, "value": value[:MAX_OUTPUT // 8], "traceback": traceback[:MAX_OUTPUT // 8],
        })

    def count(self, number):
        self.emit({"type": "number_of_executions", "execution_count": number})

    def takes(self, size):
        self.left -= size
        if self.left >= 0:
            return True
        if not self.is_over:
            self.is_over = True
            note = f"\n[output over {MAX_OUTPUT >> 20} MiB is left out]\n"
            self.emit({"type": "stderr", "text": note, "timestamp": time.time_ns()})
        return False


_FIELDS = {
    "text/plain": "text",
    "text/html": "html",
    "text/markdown": "markdown",
    "image/svg+xml": "svg",
    "image/png": "png",
    "image/jpeg": "jpeg",
    "application/pdf": "pdf",
    "text/latex": "latex",
    "application/json": "json",
    "application/javascript": "javascript",
    "application/vnd.martlet.data+json": "data",
    "application/vnd.martlet.chart+json": "chart",
}


def result_of(bundle, is_main):
    """A result as clients read it, from a bundle of representations by MIME type."""
    result = {"type": "result", "is_main_result": is_main}
    extra = {}
    for kind, value in bundle.items():
        field = _FIELDS.get(kind)
        if field is None:
            extra[kind] = value
        elif value is not None and value != {}:
            if field in ("text", "html", "markdown", "svg", "png", "jpeg", "pdf", "latex", "javascript"):
                value = "".join(value) if isinstance(value, list) else str(value)
            if field in ("png", "jpeg", "pdf"):
                value = value.replace("\n", "")
            result[field] = value
    text = result.get("text")
    # A text is shown as itself, not as its source.
    if text is not None and len(text) >= 2 and text[0] == text[-1] and text[0] in "'\"":
        result["text"] = text[1:-1]
    if extra:
        result["extra"] = extra
    return result
