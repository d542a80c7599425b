"""Looks for texts as bytes, wherever they could be kept."""

import os
import pathlib

STRETCH = 8 << 20


def stretches(file, start, end):
    """A file's content in pieces that overlap, so that nothing is cut in two; holes are left out."""
    at = start
    while at < end:
        try:
            data = os.pread(file, min(STRETCH, end - at), at)
        except OSError:
            return
        if not data:
            return
        yield data
        at += len(data) if len(data) < STRETCH else STRETCH - 4096


def data_ranges(file):
    """The stretches of a file that are not holes."""
    end, at = os.fstat(file).st_size, 0
    while at < end:
        try:
            start = os.lseek(file, at, os.SEEK_DATA)
        except OSError:
            return
        at = os.lseek(file, start, os.SEEK_HOLE)
        yield start, at


def in_files(directory, texts):
    """Names of files below a directory, each with a text it holds."""
    wanted, found = [text.encode() for text in texts], set()
    for folder, _, names in os.walk(directory):
        for name in names:
            path = os.path.join(folder, name)
            if os.path.islink(path) or not os.path.isfile(path):
                continue
            file = os.open(path, os.O_RDONLY)
            for start, end in data_ranges(file):
                for data in stretches(file, start, end):
                    found |= {f"{path}: {text.decode()}" for text in wanted if text in data}
            os.close(file)
    return sorted(found)


def in_processes(word, texts):
    """Processes that have something mounted from a place whose path has a word in it, each with a text it has in memory
    it may write; and how many such processes there are."""
    wanted, found, count = [text.encode() for text in texts], set(), 0
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if int(pid) == os.getpid() or word not in pathlib.Path(f"/proc/{pid}/mountinfo").read_text():
                continue
        except OSError:  # it has just ended
            continue
        count += 1
        memory = os.open(f"/proc/{pid}/mem", os.O_RDONLY)
        for line in pathlib.Path(f"/proc/{pid}/maps").read_text().splitlines():
            words = line.split()
            if not words[1].startswith("rw"):
                continue
            start, end = (int(number, 16) for number in words[0].split("-"))
            for data in stretches(memory, start, end):
                found |= {f"{line}: {text.decode()}" for text in wanted if text in data}
        os.close(memory)
    return sorted(found), count
