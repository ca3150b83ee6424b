# SPDX-License-Identifier: GPL-2.0-or-later
"""What a history allows. Documentation/reliability.md has it in words, under the same names.

A Branch is what one writer did to its directory between two restores: its operations in order, and what each name held
after each of them. A Tenure is what one node did between an `online` that returned 0 and the next one anywhere: the
tree as it was restored, the branches that begin there, what was confirmed. A History is all tenures in the order of
their epochs. No clock but that of the one machine that all of it runs on, no knowledge of how Holdfast works.
"""
import hashlib
import os
import stat
import threading


def digest(data):
    return "%d:%s" % (len(data), hashlib.blake2b(data, digest_size=12).hexdigest())


def look(top):
    """What a tree holds: {path: value}."""
    seen = {}

    def one(path, rel):
        st = os.lstat(path)
        mode = stat.S_IMODE(st.st_mode)
        if stat.S_ISLNK(st.st_mode):
            seen[rel] = ("link", os.readlink(path))
        elif stat.S_ISDIR(st.st_mode):
            seen[rel] = ("dir", mode)
            for name in os.listdir(path):
                one(os.path.join(path, name), rel + "/" + name)
        else:
            with open(path, "rb") as f:
                seen[rel] = ("file", mode, digest(f.read()))
    for name in os.listdir(top):
        one(os.path.join(top, name), name)
    return seen


class File:
    """An inode: hard links share it."""

    def __init__(self, mode, data):
        self.mode, self.data = mode, data
        self.several = False    # it has, or had, several names

    def value(self):
        return ("file", self.mode, digest(bytes(self.data)))


class Branch:
    def __init__(self, name, base, files):
        """base: what look() saw of this writer's directory; files: the contents of its files, inode by inode."""
        self.name = name
        self.begun = self.ended = 0
        self.ops = []           # kind and names alone
        self.names = {}
        for path, value in base.items():
            self.names[path] = files[path] if value[0] == "file" else value
        self.was = {p: [(0, v)] for p, v in base.items()}
        held = list(self.names.values())
        self.several = set()    # paths that were names of such files
        for p, f in self.names.items():
            if isinstance(f, File) and held.count(f) > 1:
                f.several = True
                self.several.add(p)

    def value(self, path):
        v = self.names.get(path)
        return v.value() if isinstance(v, File) else v

    def below(self, path):
        return [p for p in self.names if p == path or p.startswith(path + "/")]

    def apply(self, op):
        """What OP makes of the names; returns those that may have changed. It is the operation number `begun`."""
        kind, path = op[0], op[1]
        n, f = self.names, self.names.get(op[1])
        if kind == "create":
            n[path] = File(0o644, bytearray())
        elif kind == "place":           # renamed to here from outside the tree
            n[path] = File(op[2], bytearray(op[3]))
        elif kind == "write":
            if len(f.data) < op[2]:
                f.data.extend(bytes(op[2] - len(f.data)))
            f.data[op[2]:op[2] + len(op[3])] = op[3]
        elif kind == "append":
            f.data.extend(op[2])
        elif kind == "truncate":
            f.data[:] = f.data[:op[2]].ljust(op[2], b"\0")
        elif kind == "chmod":
            if isinstance(f, File):
                f.mode = op[2]
            else:
                n[path] = ("dir", op[2])
        elif kind == "link":
            n[op[2]] = f
            f.several = True
            self.several |= {p for p in n if n[p] is f}
            return [op[2]]
        elif kind == "symlink":
            n[path] = ("link", op[2])
        elif kind == "mkdir":
            n[path] = ("dir", 0o755)
        elif kind in ("unlink", "rmdir"):
            del n[path]
        elif kind == "rename":
            gone = self.below(op[2])
            old = self.below(path)
            # two names of one file: rename does nothing
            if isinstance(f, File) and n.get(op[2]) is f:
                return []
            moved = {op[2] + p[len(path):]: n.pop(p) for p in old}
            for p in gone:
                n.pop(p, None)
            n.update(moved)
            return sorted(set(old) | set(gone) | set(moved))
        else:
            raise ValueError(kind)
        if isinstance(f, File):
            return [p for p in n if n[p] is f or p == path] + ([path] if path not in n else [])
        return [path]

    def begin(self, op):
        """Operation `begun` is about to be done: from now on what it leaves may be there."""
        self.begun += 1
        self.ops.append(" ".join(str(x) for x in op if not isinstance(x, bytes)))
        for p in self.apply(op):
            if getattr(self.names.get(p), "several", False):
                self.several.add(p)
            self.was.setdefault(p, [(0, None)]).append((self.begun, self.value(p)))

    def end(self):
        self.ended = self.begun

    def allowed(self, path, confirmed):
        """What PATH may hold in a later restore, if all up to operation CONFIRMED was confirmed."""
        seq = self.was.get(path, [(0, None)])
        before = [v for i, v in seq if i <= confirmed]
        return before[-1:] + [v for i, v in seq if i > confirmed]

    def at(self, path, n):
        return [v for i, v in self.was.get(path, [(0, None)]) if i <= n][-1]

    def moments(self, seen, confirmed):
        """After which operations, from CONFIRMED on, all is as in SEEN, other than files with several names
        (consistency.rst: what is changed through a name that nobody saw)."""
        left = set(range(confirmed, self.begun + 1))
        for path in (set(self.was) | set(seen)) - self.several:
            seq = self.was.get(path, [(0, None)])
            ends = [i for i, _ in seq[1:]] + [self.begun + 1]
            left -= {n for (i, v), e in zip(seq, ends) if v != seen.get(path) for n in range(i, e)}
        return left


class Tenure:
    def __init__(self, node, epoch, called, returned, base, files, writers):
        self.node, self.epoch = node, epoch
        self.called, self.returned = called, returned
        self.base = base
        self.cut = False        # its base comes from a generation that is marked consistent
        self.branch = {}
        for w in writers:
            self.branch[w] = Branch(w, {p: v for p, v in base.items() if p.split("/")[0] == w}, files)
        self.at = {w: 0 for w in writers}     # what a confirmation covers: operations
        self.lock = threading.Lock()

    def position(self):
        """All that has returned by now."""
        return {w: b.ended for w, b in self.branch.items()}

    def holds(self):
        """What the tree is when all operations that began have ended."""
        now = {p: v for p, v in self.base.items() if p.split("/")[0] not in self.branch}
        for b in self.branch.values():
            now.update((p, b.value(p)) for p in b.names)
        return now

    def confirm(self, position):
        """Returns how many changes are confirmed by this that were not before."""
        new = 0
        with self.lock:
            for w, n in position.items():
                if n > self.at[w]:
                    new += n - self.at[w]
                    self.at[w] = n
        return new

    def wrong(self, seen):
        """What in SEEN, a later restore, is not what this tenure allows: [(path, has, allowed)]."""
        bad = []
        paths = set(seen) | set(self.base)
        for b in self.branch.values():
            paths |= set(b.was)
        for p in sorted(paths):
            b = self.branch.get(p.split("/")[0])
            ok = b.allowed(p, self.at[b.name]) if b else [self.base.get(p)]
            if seen.get(p) not in ok:
                bad.append((p, seen.get(p), ok))
        return bad


    def torn(self, seen):
        """The writers whose directories in SEEN are as at no moment, and at which moment the least is different."""
        bad = []
        for w, b in self.branch.items():
            mine = {p: v for p, v in seen.items() if p.split("/")[0] == w}
            if not b.moments(mine, self.at[w]):
                far = {n: [p for p in (set(b.was) | set(mine)) - b.several if b.at(p, n) != mine.get(p)]
                       for n in range(self.at[w], b.begun + 1)}
                n = min(far, key=lambda n: len(far[n]))
                bad.append("%s is as it was at no moment after operation %d of %d; after %d, other than %s" % (
                    w, self.at[w], b.begun, n, "; ".join("%s: %s, not %s (%s)" % (
                        p, mine.get(p), b.at(p, n), ", ".join("%d %s: %s" % (i, b.ops[i - 1] if i else "", v)
                                                             for i, v in b.was.get(p, ())[-6:]))
                        for p in sorted(far[n])[:4])))
        return bad


class History:
    def __init__(self):
        self.tenures = []       # in the order of their epochs
        self.epochs = {}        # epoch -> node
        self.confirmations = []  # (tenure, called, generation)
        self.reports = []       # (node, epoch, called): `online` returned 0
        self.lock = threading.Lock()

    def owner(self, epoch, node):
        """Somebody says that NODE owns EPOCH; returns who else was said to."""
        with self.lock:
            was = self.epochs.setdefault(epoch, node)
        return was if was != node else None

    def add(self, tenure):
        with self.lock:
            self.tenures.append(tenure)
            self.tenures.sort(key=lambda t: t.epoch)

    def confirmed(self, tenure, called, generation):
        with self.lock:
            self.confirmations.append((tenure, called, generation))

    def judge(self):
        """All that must not be: [sentence]."""
        bad = []
        ts = self.tenures
        for a, b in zip(ts, ts[1:]):
            if a.epoch == b.epoch:
                bad.append("P4: epoch %d was begun on %s and on %s" % (a.epoch, a.node, b.node))
            for path, has, ok in a.wrong(b.base):
                bad.append("P1: epoch %d on %s was restored with %s as %s; epoch %d on %s allows %s" %
                           (b.epoch, b.node, path, has, a.epoch, a.node, " or ".join(map(str, ok[:4]))))
            for w in a.torn(b.base) if b.cut else ():
                bad.append("P3: epoch %d on %s was restored from a generation marked consistent of epoch %d on %s, but %s" %
                           (b.epoch, b.node, a.epoch, a.node, w))
        for t, called, gen in self.confirmations:
            for later in ts[ts.index(t) + 1:]:
                if later.returned < called:
                    bad.append("P4: %s confirmed generation %d for epoch %d, asked %.3f s after %s was online with "
                               "epoch %d" % (t.node, gen, t.epoch, called - later.returned, later.node, later.epoch))
                    break
        for node, epoch, called in self.reports:
            for later in ts:
                if later.epoch > epoch and later.returned < called:
                    bad.append("P4: online on %s returned 0 with epoch %d, asked %.3f s after %s was online with "
                               "epoch %d" % (node, epoch, called - later.returned, later.node, later.epoch))
                    break
        top = {}
        for t, called, gen in self.confirmations:
            lo, hi = top.get(t.epoch, (gen, gen))
            top[t.epoch] = min(lo, gen), max(hi, gen)
        es = sorted(top)
        for e, f in zip(es, es[1:]):
            if top[e][1] > top[f][0]:
                bad.append("P4: generation %d was confirmed in epoch %d, and %d after it in epoch %d" %
                           (top[e][1], e, top[f][0], f))
        return bad

    def forget(self):
        """What is judged, and nobody can add to: all before the newest tenure."""
        with self.lock:
            last = self.tenures[-1]
            self.tenures = [last]
            self.confirmations = [c for c in self.confirmations if c[0] is last]
            self.reports = [r for r in self.reports if r[1] >= last.epoch]
