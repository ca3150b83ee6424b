# SPDX-License-Identifier: GPL-2.0-or-later
"""What guest/steps does to a tree: which states of it there ever were.

A state is {path: (type, mode, contents or target)}. Every change of a step is one
system call, so a consistent cut of the tree is the state after one of them."""

import io
import re
import tarfile

CONFIRMED = re.compile(rb"^confirmed (\d+)$", re.MULTILINE)
# how far beyond the last confirmed step a writer can have come; what it said last
# may not have reached this side
AHEAD = 4


def changes(i):
    """The system calls of step i."""
    yield "put", f"f{i % 5}", f"value {i}\n"
    yield "append", "log", f"line {i}\n"
    yield "mkdir", f"d{i}", None
    yield "put", f"d{i}/x", f"inside {i}\n"
    yield "move", f"d{i - 1}", f"r{i - 1}"
    yield "remove", f"r{i - 3}/x", None
    yield "remove", f"r{i - 3}", None
    yield "chmod", f"f{i % 5}", 0o600 + i % 8
    yield "symlink", f"l{i}", str(i)
    yield "remove", f"l{i - 2}", None


def apply(state, what, path, arg):
    if what == "put":
        state[path] = ("f", 0o644, arg)
    elif what == "append":
        kind, mode, data = state.get(path, ("f", 0o644, ""))
        state[path] = (kind, mode, data + arg)
    elif what == "mkdir":
        state[path] = ("d", 0o755, "")
    elif what == "symlink":
        state[path] = ("l", 0o777, arg)
    elif what == "remove":
        state.pop(path, None)
    elif what == "chmod":
        kind, _, data = state[path]
        state[path] = (kind, arg, data)
    elif what == "move":
        for old in [p for p in state if p == path or p.startswith(path + "/")]:
            state[arg + old[len(path):]] = state.pop(old)


def read(data):
    """The state in a tar archive."""
    state = {}
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        for m in tar:
            path = m.name.removeprefix("./").rstrip("/")
            if path in ("", "."):
                continue
            if m.isdir():
                state[path] = ("d", m.mode, "")
            elif m.issym():
                state[path] = ("l", 0o777, m.linkname)
            elif m.isfile():
                state[path] = ("f", m.mode, tar.extractfile(m).read().decode("latin-1"))
            else:
                state[path] = ("?", m.mode, m.linkname)
    return state


def confirmed(output):
    """The last step that a sync confirmed, or None."""
    found = CONFIRMED.findall(bytes(output))
    return int(found[-1]) if found else None


class Tree:
    """The tree as it was when it was looked at last, and what was written since."""

    def __init__(self):
        self.state = {}
        self.step = 1  # the first that was not begun then

    def match(self, got, last, consistent):
        """Takes what a node has after the steps up to last (None: none) were
        confirmed; says what is wrong with it, or None."""
        state = dict(self.state)
        first = self.step if last is None else last + 1
        for i in range(self.step, first):
            for c in changes(i):
                apply(state, *c)
        possible = [(f"step {first - 1}", first, dict(state))]
        for i in range(first, first + AHEAD):
            for n, c in enumerate(changes(i)):
                apply(state, *c)
                possible.append((f"{n + 1} changes of step {i}", i + 1, dict(state)))
        for _, step, s in possible:
            if s == got:
                self.state, self.step = got, step
                return None
        wrong = self._compare(got, [s for _, _, s in possible])
        if not wrong and not consistent:
            # not a cut: each name still is as it was at some moment
            self.state, self.step = got, first + AHEAD
            return None
        # so that what follows is judged by itself
        self.state, self.step = got, first + AHEAD
        return (f"confirmed up to step {first - 1}, but the tree was never like this:\n" +
                ("\n".join(wrong) or "each name is, but at different moments"))

    @staticmethod
    def _compare(got, states):
        wrong = []
        for path in sorted(set(got) | {p for s in states for p in s}):
            were = [s.get(path) for s in states]
            if got.get(path) not in were:
                wrong.append(f"{path}: {short(got.get(path))}, was {short(were[0])}")
        return wrong


def short(entry):
    if entry is None:
        return "not there"
    kind, mode, data = entry
    return f"{kind} {mode:o} …{data[-40:]!r}" if len(data) > 40 else f"{kind} {mode:o} {data!r}"
