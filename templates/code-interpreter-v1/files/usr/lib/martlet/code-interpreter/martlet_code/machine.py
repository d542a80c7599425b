"""What the code interpreter knows of its machine: who programs run as, with which environment, and since when."""

import os
import pwd

GENERATION = "/run/martlet/generation"
ENVIRONMENT = "/run/martlet/environment"
USER = "user"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def generation():
    """A value that is another one after every restore of the machine from a capture."""
    try:
        with open(GENERATION, "rb") as file:
            return file.read(64)
    except OSError:
        return b""


def sandbox_environment():
    """The variables its sandbox was given, as the agent tells them to root."""
    try:
        with open(ENVIRONMENT, "rb") as file:
            entries = file.read(4 * 1024 * 1024).split(b"\0")
    except OSError:
        return {}
    pairs = (entry.decode("utf-8", "surrogateescape").partition("=") for entry in entries if entry)
    return {name: value for name, _, value in pairs if name}


def set_oom_score(process, score):
    """Says how readily the kernel kills a process when memory runs out, from -1000 to 1000."""
    try:
        with open(f"/proc/{process}/oom_score_adj", "w") as file:
            file.write(str(score))
    except OSError:
        # A machine whose root may not do so: then the largest process goes first.
        pass


class Account:
    """Who kernels run as."""

    def __init__(self, name=USER):
        entry = pwd.getpwnam(name)
        self.name = name
        self.uid = entry.pw_uid
        self.gid = entry.pw_gid
        self.groups = os.getgrouplist(name, entry.pw_gid)
        self.home = entry.pw_dir
        self.shell = entry.pw_shell

    def environment(self):
        """What a program of theirs starts with."""
        base = {
            "PATH": PATH, "HOME": self.home, "USER": self.name, "LOGNAME": self.name, "SHELL": self.shell,
            "LANG": "C.UTF-8",
        }
        base.update(sandbox_environment())
        return base

    def become(self):
        """Makes the calling process theirs, for good."""
        os.setgroups(self.groups)
        os.setresgid(self.gid, self.gid, self.gid)
        os.setresuid(self.uid, self.uid, self.uid)
