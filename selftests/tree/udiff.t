#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Unified differences: patch(1) makes the one text of the other with them, and they are no
longer than those of diff(1). UDIFF_PAIRS, UDIFF_SEED."""
import os
import random
import shutil
import subprocess
import sys
import tempfile

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
HELPER = os.path.join(os.environ.get("HF_BUILD", os.path.join(TOP, "build")), "selftests/tree/udiff")
PAIRS = int(os.environ.get("UDIFF_PAIRS", "250"))
SEED = int(os.environ.get("UDIFF_SEED", random.randrange(1 << 32)))
n = bad = 0


def ok(good, name, why=""):
    global n, bad
    n += 1
    bad += not good
    print("ok" if good else "not ok", n, "-", name)
    for line in str(why).splitlines() if not good else []:
        print("#", line)
    sys.stdout.flush()


def changed(rng, lines):
    out = list(lines)
    for _ in range(rng.choice([0, 1, 1, 2, 3, 8])):
        at = rng.randint(0, len(out))
        kind = rng.random()
        if kind < 0.4:
            out[at:at] = [b"%d" % rng.randrange(6) for _ in range(rng.randint(1, 4))]
        elif kind < 0.8:
            del out[at:at + rng.randint(1, 4)]
        else:
            out[at:at + 1] = [b"new"]
    return out


def text(rng, lines):
    return b"\n".join(lines) + (b"\n" if lines and rng.random() < 0.8 else b"")


def edits(diff):
    return sum(line[:1] in (b"+", b"-") for line in diff.splitlines() if line[:3] not in (b"+++", b"---"))


def run(*args, **kw):
    return subprocess.run(args, capture_output=True, timeout=60, check=False, **kw)


def one(rng, top):
    a, b, c = (os.path.join(top, x) for x in "abc")
    lines = [b"%d" % rng.randrange(rng.choice([3, 50])) for _ in range(rng.choice([0, 1, 2, 5, 20, 100]))]
    for path, value in ((a, lines), (b, changed(rng, lines))):
        with open(path, "wb") as f:
            f.write(text(rng, value))
    want = open(b, "rb").read()
    mine = run(HELPER, a, b)
    if mine.returncode:
        return "exit %d" % mine.returncode
    if not mine.stdout:
        return "" if open(a, "rb").read() == want else "nothing, although they differ"
    p = run("patch", "-s", "-o", c, a, input=b"--- a\n+++ b\n" + mine.stdout)
    got = open(c, "rb").read() if os.path.exists(c) else b""
    if p.returncode or p.stdout or got != want:
        return "patch does not take it: %r %r" % (p.stdout, mine.stdout)
    theirs = run("diff", "-d", "-U3", a, b).stdout
    if edits(mine.stdout) > edits(theirs):
        return "%d edits, where diff needs %d" % (edits(mine.stdout), edits(theirs))
    os.unlink(c)
    return ""


def main():
    rng, top = random.Random(SEED), tempfile.mkdtemp(prefix="hf-udiff-")
    print("# UDIFF_SEED=%d" % SEED)
    try:
        wrong = [x for x in (one(rng, top) for _ in range(PAIRS)) if x]
        ok(not wrong, "%d pairs of texts: patch makes the one of the other, in as few lines as diff" % PAIRS,
           "\n".join(wrong[:10]))
        a, b = os.path.join(top, "a"), os.path.join(top, "b")
        for path, step in ((a, 2), (b, 3)):
            with open(path, "wb") as f:
                f.write(b"".join(b"%d of %d\n" % (i, step) for i in range(3000)))
        r = run(HELPER, a, b)
        ok(r.returncode == 0 and edits(r.stdout) == 6000, "two that have nothing in common: all of both")
        for data, good in ((b"a\tb\r\nc\n", True), ("\u00e9\u20ac\U0001f600\n".encode(), True), (b"a\0b", False),
                           (b"\xff\n", False), (b"\xc3", False), (b"\x1b[2J\n", False), (b"", True),
                           (b"a\\b\n", True)):
            with open(a, "wb") as f:
                f.write(data)
            with open(b, "wb") as f:
                f.write(b"")
            ok((b"(not text)" not in run(HELPER, a, b).stdout) == good,
               "%r is %s" % (data, "text" if good else "not text for a terminal"))
    finally:
        shutil.rmtree(top)
    print("1..%d" % n)
    sys.exit(bad != 0)


main()
