#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The model of the history checker: what its operations do is what the kernel does, and histories that must not be are found."""
import os
import random
import shutil
import sys
import tempfile

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from history_model import Branch, File, History, Tenure, digest, look   # noqa: E402
from history_node import Service, choose, contents                # noqa: E402

n = failed = 0


def ok(good, name, why=""):
    global n, failed
    n += 1
    failed += not good
    print("%sok %d - %s" % ("" if good else "not ", n, name))
    if not good and why:
        print("# %s" % (why,))


def f(text):
    return ("file", 0o644, digest(text.encode()))


class Here:
    """A writer's node that is this directory."""

    def __init__(self, top):
        self.dir, self.tree = top, top + "/t"


tmp = tempfile.mkdtemp(prefix="hf-history-")
try:
    os.makedirs(tmp + "/outside")
    s = Service.__new__(Service)
    s.node = Here(tmp)
    wrong = ""
    seed = int(os.environ.get("SEED", random.randrange(1 << 30)))
    print("# SEED=%d" % seed)
    kinds = set()
    for k in range(6):
        os.makedirs(tmp + "/t/w")
        with open(tmp + "/t/w/first", "w") as first:
            first.write("first\n")
        seen, rng = look(tmp + "/t"), random.Random("%d %d" % (seed, k))
        b = Branch("w", seen, contents(tmp + "/t", seen))
        for i in range(700):
            op = choose(b, "w", rng)
            kinds.add(op[0])
            b.begin(op)
            s.perform(op)
            b.end()
            if i % 7 == 0 or i > 690:
                seen = look(tmp + "/t")
                if seen != {p: b.value(p) for p in b.names}:
                    wrong = wrong or "after operation %d, %s: %s" % (i, op[:2], sorted(set(seen.items()) ^ {
                        (p, b.value(p)) for p in b.names})[:3])
                for p in set(b.was) | set(seen):
                    if b.allowed(p, b.ended) != [seen.get(p)]:
                        wrong = wrong or "%s holds %s, not %s" % (p, seen.get(p), b.allowed(p, b.ended))
        shutil.rmtree(tmp + "/t")
    ok(not wrong, "after thousands of operations the tree is what the model says", wrong)
    ok(len(kinds) == 12, "of every kind", sorted(kinds))
finally:
    shutil.rmtree(tmp)


def tenure(node, epoch, at, base, ops=(), confirmed=0):
    files = {p: File(v[1], bytearray()) for p, v in base.items()}
    t = Tenure(node, epoch, at, at + 1, dict(base, w=("dir", 0o755)), files, ["w"])
    b = t.branch["w"]
    for op in ops:
        b.begin(op)
        b.end()
    t.confirm({"w": confirmed})
    return t


OPS = [("place", "w/a", 0o644, b"1"), ("place", "w/a", 0o644, b"2"), ("place", "w/b", 0o644, b"1"), ("unlink", "w/b"),
       ("rename", "w/a", "w/c"), ("place", "w/c", 0o644, b"3")]


def history(base, confirmed, epoch=2, cut=False):
    h = History()
    h.add(tenure("n1", 1, 0, {}, OPS, confirmed))
    h.add(tenure("n2", epoch, 10, base))
    h.tenures[-1].cut = cut
    return h


CASES = [
    ("what was confirmed", {"w/c": f("3")}, 6, True),
    ("nothing was confirmed: as it was", {}, 0, True),
    ("nothing was confirmed: any later moment", {"w/a": f("2"), "w/b": f("1")}, 0, True),
    ("each path at a moment of its own", {"w/a": f("1"), "w/c": f("3")}, 1, True),
    ("a later value in the place of a confirmed one", {"w/a": f("2")}, 1, True),
    ("a confirmed change is missing", {}, 6, False),
    ("an older value", {"w/a": f("1")}, 2, False),
    ("a confirmed deletion came back", {"w/a": f("2"), "w/b": f("1")}, 4, False),
    ("the old name after a confirmed rename", {"w/a": f("2"), "w/c": f("2")}, 5, False),
    ("another mode", {"w/c": ("file", 0o600, digest(b"3"))}, 6, False),
    ("half of a value", {"w/c": f("")}, 6, False),
    ("what nobody wrote", {"w/c": f("3"), "w/x": f("x")}, 6, False),
    ("what nobody wrote, elsewhere", {"w/c": f("3"), "y": f("x")}, 6, False),
]
for name, base, confirmed, good in CASES:
    bad = history(base, confirmed).judge()
    ok(bool(bad) != good, "P1: %s: %s" % (name, "allowed" if good else "found"), bad)

for name, base, confirmed, good in [
        ("as it was at a moment", {"w/a": f("2"), "w/b": f("1")}, 0, True),
        ("as it was at the moment of the confirmation", {"w/a": f("2")}, 4, True),
        ("each path at a moment of its own", {"w/a": f("1"), "w/c": f("3")}, 1, False),
        ("between the two names of a rename", {}, 1, False)]:
    bad = history(base, confirmed, cut=True).judge()
    ok(bool(bad) != good, "P3: consistent, %s: %s" % (name, "allowed" if good else "found"), bad)

h = history({}, 0)
h.confirmed(h.tenures[0], 10.5, 7)
ok(not h.judge(), "a sync that was asked for while another node took over: what it covers is asked of that one")
h.confirmed(h.tenures[0], 11.5, 7)
ok(any("P4" in b for b in h.judge()), "P4: a sync after that: found")
h = history({}, 0)
h.reports.append(("n1", 1, 10.5))
ok(not h.judge(), "an online that was asked for before")
h.reports.append(("n1", 1, 11.5))
ok(any("P4" in b for b in h.judge()), "P4: an online of a stale owner: found")
ok(any("P4" in b for b in history({}, 0, epoch=1).judge()), "P4: an epoch that two began: found")
h = history({}, 0)
ok(h.owner(1, "n1") is None and h.owner(1, "n2") == "n1", "P4: an epoch that two have: found")
h = history({}, 0)
h.confirmed(h.tenures[0], 1, 9)
h.confirmed(h.tenures[1], 12, 8)
ok(any("P4" in b for b in h.judge()), "P4: a generation that was confirmed twice: found")
print("1..%d" % n)
sys.exit(failed != 0)
