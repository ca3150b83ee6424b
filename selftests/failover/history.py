#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""history.py [--seed N] [--nodes N] [--seconds N] [--bags N] [--only TEXT] [--table FILE]

Writers change a tree on the node that has it online, and note what they did and what `holdfast sync` confirmed; faults
are injected, one in each round; after each the resource goes to another node, and what is there must be what the history
allows (history_model.py, Documentation/reliability.md). Every fault once in each bag, in an order of the seed, which is printed:
the same seed makes the same faults with the same random numbers. --only: those faults whose names contain TEXT. Ends after --bags, or when
--seconds are over. Prints TAP and the table of what was injected; --table adds its figures to FILE (JSON), from which
--show FILE... prints the sum of many runs.
"""
import argparse
import collections
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback

sys.dont_write_bytecode = True

import history_model as model                                       # noqa: E402
from history_faults import FAULTS                                   # noqa: E402
from history_node import R, WORKS, WRITERS, Node, Service, contents, now  # noqa: E402


class Wrong(Exception):
    pass


class Cluster:
    def __init__(self, count, seed):
        self.build = os.environ.get("HF_BUILD") or os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../build")
        self.preload = self.build + "/selftests/failover/preload_faults.so"
        self.tmp = tempfile.mkdtemp(prefix="hf-history-")
        self.seed, self.loop = seed, None
        self.history = model.History()
        self.violations = []
        self.n = collections.Counter()
        self.lock = threading.Lock()
        self.pause = 0.1
        self.file = self.tmp + "/disk"
        with open(self.file, "wb") as f:
            f.truncate(96 << 20)
        try:
            self.loop = subprocess.run(["losetup", "--find", "--show", self.file], check=True, capture_output=True,
                                       text=True).stdout.strip()
        except (OSError, subprocess.CalledProcessError):
            pass
        self.disk = self.loop or self.file
        self.nodes = [Node(self, "n%d" % i, "%s node %d" % (seed, i)) for i in range(1, count + 1)]

    def begin(self):
        a = self.nodes[0]
        self.must(a, "keygen")
        self.must(a, "disk", "format", self.disk, "--name", "history", "--nodes", "4", "--lease", "1s", "--yes")
        for n in self.nodes:
            self.must(n, "join", self.disk)
        for w in WRITERS:
            os.makedirs(a.tree + "/" + w)
            with open(a.tree + "/" + w + "/first", "w") as f:
                f.write("first\n")
        for n in self.nodes:
            self.start(n)
        self.must(a, "resource", "add", R)
        self.must(a, "resource", "set", R, "delete-guard=0")
        self.must(a, "checkpoint", "add", R, "/srv/t")
        if self.take(a):
            raise Wrong("the first online failed")

    def end(self):
        for n in self.nodes:
            try:
                n.thaw()
                n.disk(WORKS)
                n.kill()
                if n.service:
                    n.service.stop()
            except Exception:       # the others too
                traceback.print_exc()
        if self.loop:
            subprocess.run(["losetup", "--detach", self.loop])
        if os.environ.get("KEEP"):
            print("# kept: %s" % self.tmp)
        else:
            shutil.rmtree(self.tmp, ignore_errors=True)

    # ---- what is counted and said ----

    def must(self, node, *args):
        rc, out, err = node.hf(*args)
        if rc:
            raise Wrong("%s: holdfast %s: exit %d: %s" % (node.name, " ".join(args), rc, err))
        return out

    def count(self, what, by=1):
        with self.lock:
            self.n[what] += by

    def note(self, text):
        print("#   %s" % text, flush=True)

    def wrong(self, text):
        with self.lock:
            self.violations.append(text)

    broken = wrong

    def confirmed(self, tenure, at, called, generation):
        self.history.confirmed(tenure, called, generation)
        self.count("confirmed", tenure.confirm(at))
        self.count("syncs")

    def until(self, seconds, what, fn):
        """A state that has to come; the bound is far beyond what it takes."""
        end = now() + seconds
        while not fn():
            if now() > end:
                self.wrong("waited for %s in vain for %d s" % (what, seconds))
                return False
            time.sleep(0.05)
        return True

    # ---- what a cluster manager does ----

    def start(self, node):
        if node.proc is None and not node.start():
            code = node.proc.poll()
            if code is None:
                self.wrong("the daemon of %s did not answer" % node.name)
            else:
                self.wrong("the daemon of %s ended by itself, exit %d" % (node.name, code))
            node.kill()

    def take(self, node, *opts, serve=True):
        """online on NODE, then its service; returns the exit code."""
        if node.service:
            node.service.stop()
        called = now()
        rc, out, err = node.hf("online", R, *opts, "--timeout", "20s", bound=60)
        returned = now()
        if rc:
            self.count("online %d" % rc)
            return rc
        epoch = out["epoch"]
        with self.lock:
            self.history.reports.append((node.name, epoch, called))
        other = self.history.owner(epoch, node.name)
        if other:
            self.wrong("P4: epoch %d is said to be of %s and of %s" % (epoch, other, node.name))
        base = model.look(node.tree)
        t = self.history.tenures[-1] if self.history.tenures else None
        if not (out.get("already") and t and t.node == node.name and base == t.holds()):
            t = model.Tenure(node.name, epoch, called, returned, base, contents(node.tree, base), WRITERS)
            _, past, _ = node.hf("history", R, bound=10)
            t.cut = any(g["generation"] == out["generation"] and g["consistent"] for g in past.get("generations", ()))
            self.count("cut restored" if t.cut else "fuzzy restored")
            self.history.add(t)
        self.count("online")
        if serve:
            self.count("services")
            Service(node, t, "%s %d" % (self.seed, self.n["services"]))
        return 0

    def take_over(self, node, fenced, release=False):
        """Until it is done, as a cluster manager would."""
        if release:
            for n in self.nodes:
                if n is not node and n.service:
                    self.offline(n)
        return self.until(60, "%s to take over" % node.name,
                          lambda: self.take(node, *(["--fenced"] if fenced else [])) == 0)

    def offline(self, node, *opts, service=False):
        s = node.service
        if s and not service:
            s.stop()
        at = s.tenure.position() if s else None
        called = now()
        rc, out, err = node.hf("offline", R, *opts)
        if rc or out.get("spooled") or out.get("note") or out.get("already"):
            self.note("offline on %s: %d %s" % (node.name, rc, err or out))
        elif s:
            self.confirmed(s.tenure, at, called, out["generation"])
        if s and service:
            s.stop()

    # ---- a round ----

    def owner(self):
        """The node of the newest epoch, with its service running."""
        last = self.history.tenures[-1].node if self.history.tenures else None
        n = next((x for x in self.nodes if x.name == last), self.nodes[0])
        if not n.service or not n.holds():
            self.take_over(n, fenced=False)
            n = next(x for x in self.nodes if x.name == self.history.tenures[-1].node)
        return n

    def heal(self, ended):
        for n in self.nodes:
            n.disk(WORKS)
            n.clock(rate=1000)
            n.thaw()
        for n in self.nodes:
            if n.proc and n.proc.poll() is not None:
                (self.note if n.proc.returncode in ended else self.wrong)(
                    "the daemon of %s ended by itself, exit %d" % (n.name, n.proc.returncode))
                n.kill()
            self.start(n)
        last = self.history.tenures[-1].node
        for n in self.nodes:
            if n.name != last:
                self.until(60, "%s to find out that it does not own the resource" % n.name, lambda: not n.holds())
                if n.service:
                    n.service.stop()

    def round(self, i, name, bound):
        rng = random.Random("%s round %d" % (self.seed, i))
        background = rng.random()
        orderly = rng.random() < 0.5
        self.n["rounds"] += 1
        o = self.owner()
        others = [n for n in self.nodes if n is not o]
        rng.shuffle(others)
        if background < 0.15:
            for n in self.nodes:
                n.disk(WORKS, slow_ms=rng.randrange(1, 8))
        elif background < 0.3:
            for n in self.nodes:
                n.clock(rng.uniform(-1e5, 1e5), rng.uniform(0, 1e4), rng.choice((900, 1100)))
        before = self.n["confirmed"]
        self.until(60, "a first confirmation", lambda: self.n["confirmed"] > before)
        time.sleep(rng.random() * 0.3)
        FAULTS[name](self, o, others, rng)
        self.heal((5, 6) if name == "cloned node" else ())
        # it must go on, and be there on another node
        o = self.owner()
        before = self.n["confirmed"]
        self.until(60, "a confirmation after the fault", lambda: self.n["confirmed"] > before)
        others = [n for n in self.nodes if n is not o]
        self.take_over(rng.choice(others), fenced=not orderly, release=orderly)
        self.heal(())
        bad = self.history.judge()
        self.history.forget()
        with self.lock:
            bad += self.violations
            self.violations = []
        return bad


def shown(figures):
    """The table of Documentation/reliability.md."""
    rows = [(f, "%d" % v["injected"], "%d" % v["survived"], "%d of %d" % (v["lost"], v["confirmed"]))
            for f, v in figures.items()]
    total = collections.Counter()
    for v in figures.values():
        total.update(v)
    rows.append(("all", "%d" % total["injected"], "%d" % total["survived"], "%d of %d" % (total["lost"], total["confirmed"])))
    head = ("fault", "injected", "survived", "confirmed changes lost")
    return "\n".join("| %s |" % " | ".join(r) for r in [head, ("---", "---:", "---:", "---:")] + rows)


def load(path):
    try:
        with open(path) as f:
            return json.load(f)
    except FileNotFoundError:
        return {}


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--seed", type=int)
    ap.add_argument("--nodes", type=int, default=3)
    ap.add_argument("--seconds", type=float, default=1e9)
    ap.add_argument("--bags", type=int, default=1)
    ap.add_argument("--only", default="")
    ap.add_argument("--table")
    ap.add_argument("--show", nargs="+")
    a = ap.parse_args()
    if a.show:
        total = {f: collections.Counter() for f in FAULTS}
        for path in a.show:
            for f, v in load(path).items():
                total[f].update(v)
        print(shown(total))
        return 0
    seed = a.seed if a.seed is not None else random.SystemRandom().randrange(1 << 31)
    again = "--seed %d --nodes %d --bags %d" % (seed, a.nodes, a.bags) + (" --only '%s'" % a.only if a.only else "")
    print("# history.py %s" % again, flush=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    figures = {f: collections.Counter(injected=0, survived=0, lost=0, confirmed=0) for f in FAULTS if a.only in f}
    if not figures:
        print("Bail out! no fault's name contains '%s'" % a.only)
        return 1
    end = now() + a.seconds
    order, rng = [], random.Random("%d order" % seed)
    for _ in range(a.bags):
        bag = list(figures)
        rng.shuffle(bag)
        order += bag
    c = Cluster(a.nodes, seed)
    points = failed = 0
    try:
        c.begin()
        for i, name in enumerate(order):
            if now() > end:
                print("# the time is over after %d of %d rounds" % (i, len(order)))
                break
            before, t0 = collections.Counter(c.n), now()
            bad = c.round(i, name, end)
            v = figures[name]
            v["injected"] += 1
            v["confirmed"] += c.n["confirmed"] - before["confirmed"]
            v["lost"] += sum("P1:" in b for b in bad)
            v["survived"] += not bad
            points += 1
            failed += bool(bad)
            print("%sok %d - %s: %d changes confirmed by %d syncs, %d refused, %.1f s" %
                  ("not " if bad else "", points, name, c.n["confirmed"] - before["confirmed"],
                   c.n["syncs"] - before["syncs"], c.n["unconfirmed"] - before["unconfirmed"], now() - t0), flush=True)
            for b in bad[:20]:
                print("# %s" % b)
            if bad:
                print("# again: history.py %s" % again)
                for n in c.nodes:
                    with open(n.dir + "/log", errors="replace") as f:
                        print("".join("# %s: %s" % (n.name, x) for x in f.readlines()[-15:]), end="")
                break
        for n in c.nodes:
            if n.service:
                n.service.stop()
        rc, _, err = c.nodes[0].hf("disk", "check")
        points += 1
        failed += rc != 0
        print("%sok %d - the disk is sound" % ("not " if rc else "", points))
        if rc:
            print("# %d %s" % (rc, err))
    except Exception:
        points += 1
        failed += 1
        print("not ok %d - the run itself" % points)
        print("".join("# " + x + "\n" for x in traceback.format_exc().splitlines()), end="")
    finally:
        c.end()
    print("".join("# " + x + "\n" for x in shown(figures).splitlines()), end="")
    print("# %d restores of consistent generations, %d of others" % (c.n["cut restored"], c.n["fuzzy restored"]))
    print("# on %s; onlines by exit code: %s" % ("a loop device" if c.loop else "a file: no loop device here", ", ".join(
        "%s %d" % (k.replace("online", "").strip() or "0", v) for k, v in sorted(c.n.items()) if k.startswith("online"))))
    print("1..%d" % points)
    if a.table:
        old = load(a.table)
        for f, v in figures.items():
            old[f] = dict(collections.Counter(old.get(f, {})) + v) | {k: old.get(f, {}).get(k, 0) + v[k] for k in v}
        with open(a.table, "w") as f:
            json.dump(old, f, indent=1)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
