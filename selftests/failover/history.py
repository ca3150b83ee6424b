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
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
import traceback

sys.dont_write_bytecode = True

from history_faults import FAULTS                                   # noqa: E402
from history_node import R, WORKS, WRITERS, Node                    # noqa: E402
from history_run import Run, Wrong, arguments, play, show           # noqa: E402


class Cluster(Run):
    def __init__(self, count, seed):
        super().__init__(seed)
        self.preload = self.build + "/selftests/failover/preload_faults.so"
        self.tmp = tempfile.mkdtemp(prefix="hf-history-")
        self.loop = None
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

    # ---- what a cluster manager does ----

    def start(self, node):
        if node.proc is None and not node.start():
            code = node.proc.poll()
            if code is None:
                self.wrong("the daemon of %s did not answer" % node.name)
            else:
                self.wrong("the daemon of %s ended by itself, exit %d" % (node.name, code))
            node.kill()

    def take_over(self, node, fenced, release=False):
        """Until it is done, as a cluster manager would."""
        if release:
            for n in self.nodes:
                if n is not node and n.service:
                    self.offline(n)
        return self.until(60, "%s to take over" % node.name,
                          lambda: self.take(node, *(["--fenced"] if fenced else [])) == 0)

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

    def round(self, i, name, fault):
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
        self.confirms("before the fault")
        time.sleep(rng.random() * 0.3)
        fault(self, o, others, rng)
        self.heal((5, 6) if name == "cloned node" else ())
        # it must go on, and be there on another node
        o = self.owner()
        self.confirms("after the fault")
        others = [n for n in self.nodes if n is not o]
        self.take_over(rng.choice(others), fenced=not orderly, release=orderly)
        self.heal(())

    def at_the_end(self):
        for n in self.nodes:
            if n.service:
                n.service.stop()
        rc, _, err = self.nodes[0].hf("disk", "check")
        return ["disk check: %d %s" % (rc, err)] if rc else []

    def tell(self):
        for n in self.nodes:
            with open(n.dir + "/log", errors="replace") as f:
                print("".join("# %s: %s" % (n.name, x) for x in f.readlines()[-15:]), end="")


def main():
    ap = arguments()
    ap.add_argument("--nodes", type=int, default=3)
    a = ap.parse_args()
    if a.show:
        show(FAULTS, a.show)
        return 0

    def make(seed):
        c = Cluster(a.nodes, seed)
        print("# on %s" % ("a loop device" if c.loop else "a file: no loop device here"))
        return c
    points, failed = play(a, FAULTS, make, "history.py --nodes %d" % a.nodes)
    print("1..%d" % points)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
