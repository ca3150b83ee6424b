#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Patterns: git itself is the judge, over lists of patterns that are made up.

PATTERN_LISTS: how many of them; PATTERN_SEED: of the generator.
"""
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
HELPER = os.path.join(os.environ.get("HF_BUILD", os.path.join(TOP, "build")), "selftests/tree/patterns")
LISTS = int(os.environ.get("PATTERN_LISTS", "1500"))
SEED = int(os.environ.get("PATTERN_SEED", random.randrange(1 << 32)))

NAMES = [b"a", b"b", b"ab", b"abc", b"c.conf", b"a.swp", b"A", b".x", b"!a", b"#b", b"a b", b"[a]", b"a*b",
         b"\\a", b"-", b"]", b"\xc3\xa9", b"\xff"]
BITS = [b"a", b"b", b"ab", b"c", b".", b"A", b"-", b"\xc3\xa9", b"*", b"*", b"*", b"?", b"**", b"/", b"/", b"/",
        b"**/", b"/**", b"/**/", b"\\a", b"\\*", b"\\[", b"\\\\", b"\\!", b"\\/", b"[ab]", b"[!a]", b"[^b]", b"[a-c]",
        b"[]a]", b"[!]a]", b"[\\]b]", b"[[:alpha:]]", b"[[:digit:]x]", b"[[:nono:]]", b"[[:alpha]", b"[a-]", b"[/]",
        b"[a", b"\\", b"!", b" ", b".conf", b"*.swp", b"***"]


class Tap:
    def __init__(self):
        self.n = self.bad = 0

    def ok(self, good, name, why=""):
        self.n += 1
        self.bad += not good
        print(("ok" if good else "not ok"), self.n, "-", name)
        for line in why.splitlines() if not good else []:
            print("#", line)
        sys.stdout.flush()


def git(cwd, *args, **kw):
    env = {"PATH": os.environ["PATH"], "HOME": cwd.decode(), "GIT_CONFIG_NOSYSTEM": "1", "LC_ALL": "C"}
    return subprocess.run(["git", *args], cwd=cwd, env=env, capture_output=True, timeout=60, **kw)


def grow(rng, top, depth=0):
    """Directories, files and links below top; returns (kind, path) of each."""
    out = []
    for name in rng.sample(NAMES, rng.randint(3, 7) if depth else 9):
        path = os.path.join(top, name)
        kind = rng.choice("ddffl") if depth < 3 else "f"
        if kind == "d":
            os.mkdir(path)
            out.append(("d", path))
            out += grow(rng, path, depth + 1)
        elif kind == "f":
            open(path, "wb").close()
            out.append(("f", path))
        else:
            os.symlink(".", path)
            out.append(("f", path))
    return out


def made_up(rng):
    pat = b"".join(rng.choice(BITS) for _ in range(rng.choice([1, 1, 2, 2, 3, 4, 5])))
    return (b"!" if rng.random() < 0.25 else b"") + pat


# Here git does not do what its manual says: it cuts off the part before the first special character,
# and takes the ** behind it for one that stands between slashes. Here "a**/b" is what the manual
# has it be, "a*/b".
CUT = re.compile(rb"!?/?[^*?[\\]*[^*?[\\/]\*\*+(/|\\/)")


def fits(pat):
    """Not what an ignore file takes for something else than on a command line."""
    return (pat and not pat.startswith(b"#") and not pat.endswith((b" ", b"\\")) and pat != b"!" and
            not CUT.match(pat))


def ask_git(repo, pats, paths):
    with open(os.path.join(repo, b".git/info/exclude"), "wb") as f:
        f.write(b"\n".join(pats) + b"\n")
    r = git(repo, "check-ignore", "--no-index", "-v", "-n", "-z", "--stdin",
            input=b"".join(p + b"\0" for p in paths))
    if r.returncode not in (0, 1):
        raise RuntimeError(r.stderr.decode(errors="replace"))
    f = r.stdout.split(b"\0")[:-1]
    said = {f[i + 3]: bool(f[i + 2]) and not f[i + 2].startswith(b"!") for i in range(0, len(f), 4)}
    return [said[p] for p in paths]


class Ours:
    def __init__(self):
        self.p = subprocess.Popen([HELPER], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def ask(self, pats, things):
        words = [b"%d" % len(pats), *pats, b"%d" % len(things)] + [k.encode() + p for k, p in things]
        self.p.stdin.write(b"".join(w + b"\0" for w in words))
        self.p.stdin.flush()
        return [c == ord("1") for c in self.p.stdout.readline().strip()]

    def end(self):
        self.p.stdin.close()
        return self.p.wait(60)


def differences(ours, repo, pats, things):
    mine = ours.ask(pats, things)
    theirs = ask_git(repo, pats, [p for _, p in things])
    return [(k, p, m, t) for (k, p), m, t in zip(things, mine, theirs) if m != t]


def told(pats, diff):
    k, p, m, _ = diff[0]
    return "%r: %s %r is %s here, not so for git (%d of them)" % (
        [x.decode("latin1") for x in pats], "directory" if k == "d" else "file", p, "out" if m else "in", len(diff))


KNOWN = [  # by hand, each with one case of the manual page of gitignore
    (["*.swp"], ["a.swp", "d/a.swp"], ["a", "a.swp.x"]),
    (["/a"], ["a"], ["d/a"]),
    (["d/a"], ["d/a"], ["e/d/a", "a"]),
    (["a/"], ["a/", "d/a/", "a/x"], ["a"]),
    (["**/x"], ["x", "a/x", "a/b/x"], ["ax"]),
    (["a/**"], ["a/b", "a/b/c"], ["a/", "b/a/b"]),
    (["a/**/b"], ["a/b", "a/x/b", "a/x/y/b"], ["a/xb"]),
    (["*", "!keep"], ["a", "d/"], ["keep"]),
    (["*", "!keep"], ["d/keep"], []),
    (["/*", "!/etc", "/etc/*", "!/etc/x"], ["a", "etc/y"], ["etc/", "etc/x"]),
    (["!x", "x"], ["x"], []),
    (["x", "!x"], [], ["x"]),
    (["#x"], ["#x"], ["x"]),
    (["\\!x"], ["!x"], ["x"]),
    (["x "], ["x "], ["x"]),
    (["a**/b"], ["ax/b"], ["a/x/b", "ax/y/b"]),
    (["a*b*c"], ["abc", "axbxc", "abbc"], ["ab/c", "axc"]),
]


def by_hand(ours):
    bad = []
    for pats, out, inside in KNOWN:
        things = [("d" if p.endswith("/") else "f", p.rstrip("/").encode()) for p in out + inside]
        want = [True] * len(out) + [False] * len(inside)
        got = ours.ask([p.encode() for p in pats], things)
        bad += ["%r: %r" % (pats, t) for t, w, g in zip(things, want, got) if w != g]
    return bad


def main():
    tap, rng, ours = Tap(), random.Random(SEED), Ours()
    top = os.fsencode(tempfile.mkdtemp(prefix="hf-patterns-"))
    wrong, asked, hits = [], 0, 0
    print("# PATTERN_SEED=%d" % SEED)
    try:
        bad = by_hand(ours)
        tap.ok(not bad, "what gitignore's manual says", "\n".join(bad))
        for i in range(LISTS):
            if i % 100 == 0:
                repo = os.path.join(top, b"r%d" % i)
                os.mkdir(repo)
                git(repo, "init", "-q")
                things = [(k, os.path.relpath(p, repo)) for k, p in grow(rng, repo)]
            pats = [p for p in (made_up(rng) for _ in range(rng.randint(1, 5))) if fits(p)]
            if not pats:
                continue
            diff = differences(ours, repo, pats, things)
            asked += len(things)
            hits += sum(ours.ask(pats, things))
            if diff:
                wrong.append(told(pats, diff))
        print("# %d lists, %d answers, %d of them \"out\"" % (LISTS, asked, hits))
        tap.ok(not wrong, "git check-ignore says the same of every path", "\n".join(wrong[:40]))
        tap.ok(hits * 20 > asked and hits * 20 < asked * 19, "and the patterns leave out some, and not all",
               "%d of %d" % (hits, asked))
        # one that tries every way to fail would not come back
        long = [("f", b"/".join([b"a" * 200] * 15))]
        got = ours.ask([b"**/" + b"*a" * 100 + b"/**/" + b"*a" * 100 + b"b"], long)
        tap.ok(got == [False], "a pattern of many stars ends")
        tap.ok(ours.end() == 0, "the helper ended in order")
    finally:
        shutil.rmtree(top)
    print("1..%d" % tap.n)
    sys.exit(tap.bad != 0)


main()
