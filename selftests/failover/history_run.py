# SPDX-License-Identifier: GPL-2.0-or-later
"""What every run of the history checker has, whatever starts the daemons: what is noted and counted, what `online`,
`offline` and `sync` mean for that, the rounds and their table. history.py starts daemons itself,
../cluster/history.py leaves that to Pacemaker."""
import argparse
import collections
import json
import os
import random
import signal
import sys
import threading
import time
import traceback

import history_model as model
from history_node import R, WRITERS, Service, contents, now


class Wrong(Exception):
    pass


class Run:
    """A cluster under test: the subclass has its nodes, and begin(), round(), at_the_end(), tell() and end()."""

    def __init__(self, seed):
        self.build = os.environ.get("HF_BUILD") or os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../build")
        self.seed, self.nodes = seed, []
        self.history = model.History()
        self.violations = []
        self.n = collections.Counter()
        self.lock = threading.Lock()
        self.pause = 0.1

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

    def until(self, seconds, what, fn, every=0.05):
        """A state that has to come; the bound is far beyond what it takes."""
        end = now() + seconds
        while not fn():
            if now() > end:
                self.wrong("waited for %s in vain for %d s" % (what, seconds))
                return False
            time.sleep(every)
        return True

    def confirms(self, when):
        before = self.n["confirmed"]
        return self.until(60, "a confirmation %s" % when, lambda: self.n["confirmed"] > before)

    def judge(self):
        bad = self.history.judge()
        self.history.forget()
        with self.lock:
            bad += self.violations
            self.violations = []
        return bad

    # ---- what is said to a node ----

    def halt(self, node):
        """Its service, before `online` is said there."""
        if node.service:
            node.service.stop()

    def base(self, node, epoch):
        """The tree of NODE as `online` left it, and its inodes; None if that epoch is over."""
        seen = model.look(node.tree)
        return seen, contents(node.tree, seen)

    def owns(self, node, epoch):
        other = self.history.owner(epoch, node.name)
        if other:
            self.wrong("P4: epoch %d is said to be of %s and of %s" % (epoch, other, node.name))

    def tenure(self, node, epoch, called, returned, base, files):
        """What begins with that tree; or what goes on, if the epoch has begun and left it as it is. (tenure, is it new)"""
        for t in list(self.history.tenures):
            if t.node == node.name and t.epoch == epoch and base == t.holds():
                return t, False
        t = model.Tenure(node.name, epoch, called, returned, base, files, WRITERS)
        self.history.add(t)
        return t, True

    def serve(self, node, tenure):
        self.count("services")
        Service(node, tenure, "%s %d" % (self.seed, self.n["services"]))

    def take(self, node, *opts, serve=True):
        """online on NODE, then its service; returns the exit code."""
        self.halt(node)
        called = now()
        rc, out, err = node.hf("online", R, *opts, "--timeout", "20s", bound=60)
        returned = now()
        if rc:
            self.count("online %d" % rc)
            return rc
        epoch = out["epoch"]
        with self.lock:
            self.history.reports.append((node.name, epoch, called))
        self.owns(node, epoch)
        self.count("online")
        base = self.base(node, epoch)
        if base is None:
            return 0
        t, new = self.tenure(node, epoch, called, returned, *base)
        if new:
            _, past, _ = node.hf("history", R, bound=10)
            t.cut = not out.get("already") and any(g["generation"] == out["generation"] and g["consistent"]
                                                 for g in past.get("generations", ()))
            self.count("cut restored" if t.cut else "fuzzy restored")
        if serve:
            self.serve(node, t)
        return 0

    def offline(self, node, *opts, service=False):
        s = node.service
        if s and not service:
            s.stop()
        self.release(node, s, *opts)
        if s and service:
            s.stop()

    def release(self, node, s, *opts):
        """offline on NODE, where the service S runs or ran."""
        at = s.tenure.position() if s else None
        called = now()
        rc, out, err = node.hf("offline", R, *opts)
        if rc or out.get("spooled") or out.get("note") or out.get("already"):
            self.note("offline on %s: %d %s" % (node.name, rc, err or out))
        elif s:
            self.confirmed(s.tenure, at, called, out["generation"])


def shown(figures):
    """A table of Documentation/reliability.md."""
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


def arguments():
    ap = argparse.ArgumentParser()
    ap.add_argument("--seed", type=int)
    ap.add_argument("--seconds", type=float, default=1e9)
    ap.add_argument("--bags", type=int, default=1)
    ap.add_argument("--only", default="")
    ap.add_argument("--table")
    ap.add_argument("--show", nargs="+")
    return ap


def show(faults, paths):
    total = {f: collections.Counter() for f in faults}
    for path in paths:
        for f, v in load(path).items():
            total[f].update(v)
    print(shown(total))


def add_table(path, figures):
    old = load(path)
    for f, v in figures.items():
        old[f] = {k: old.get(f, {}).get(k, 0) + n for k, n in v.items()}
    with open(path, "w") as f:
        json.dump(old, f, indent=1)


def play(a, faults, make, again, points=0):
    """The rounds that the arguments A ask for, in TAP, on make(seed); AGAIN is the command that does it
    once more. Returns how many points there are, after POINTS, and how many of them failed."""
    seed = a.seed if a.seed is not None else random.SystemRandom().randrange(1 << 31)
    again += " --seed %d --bags %d" % (seed, a.bags) + (" --only '%s'" % a.only if a.only else "")
    print("# %s" % again, flush=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    figures = {f: collections.Counter(injected=0, survived=0, lost=0, confirmed=0) for f in faults if a.only in f}
    if not figures:
        print("Bail out! no fault's name contains '%s'" % a.only)
        return points, 1
    end = now() + a.seconds
    order, rng = [], random.Random("%d order" % seed)
    for _ in range(a.bags):
        bag = list(figures)
        rng.shuffle(bag)
        order += bag
    failed = 0
    c = make(seed)

    def verdict(bad, what):
        nonlocal points, failed
        points += 1
        failed += bool(bad)
        print("%sok %d - %s" % ("not " if bad else "", points, what), flush=True)
        for b in bad[:20]:
            print("# %s" % b)
        if bad:
            print("# again: %s" % again)
            c.tell()

    try:
        c.begin()
        for i, name in enumerate(order):
            if now() > end:
                print("# the time is over after %d of %d rounds" % (i, len(order)))
                break
            before, t0 = collections.Counter(c.n), now()
            c.round(i, name, faults[name])
            bad = c.judge()
            v = figures[name]
            v["injected"] += 1
            v["confirmed"] += c.n["confirmed"] - before["confirmed"]
            v["lost"] += sum("P1:" in b for b in bad)
            v["survived"] += not bad
            verdict(bad, "%s: %d changes confirmed by %d syncs, %d refused, %.1f s" %
                    (name, c.n["confirmed"] - before["confirmed"], c.n["syncs"] - before["syncs"],
                     c.n["unconfirmed"] - before["unconfirmed"], now() - t0))
            if bad:
                break
        if not failed:
            verdict(c.at_the_end(), "at the end all is there, and the disk is sound")
    except Exception:
        verdict(traceback.format_exc().splitlines(), "the run itself")
    finally:
        c.end()
    print("".join("# " + x + "\n" for x in shown(figures).splitlines()), end="")
    print("# %d restores of consistent generations, %d of others" % (c.n["cut restored"], c.n["fuzzy restored"]))
    print("# onlines by exit code: %s" % ", ".join(
        "%s %d" % (k.replace("online", "").strip() or "0", v) for k, v in sorted(c.n.items()) if k.startswith("online")))
    if a.table:
        add_table(a.table, figures)
    return points, failed
