#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The history checker (../failover/history.py) under a real Pacemaker: history.t makes the cluster and calls this, which injects
the faults of pacemaker_faults.py and has writers work wherever Pacemaker starts their service. After each fault Pacemaker
has to come to one node that runs the resource, by itself, with no failure and no fencing that the fault does not account for;
what is there must be what the history allows.

    history.py --first N --tally FILE [--seed N] [--bags N] [--seconds N] [--only TEXT] [--table FILE]

after N points of TAP; how many there are then, and how many failed, is written into FILE. HFT_DIR, HFT_CGROUP, HFT_HUB, HFT_ROOTFS
and NODES are what lib.sh has as W, CG, HUB, ROOTFS and NODES. --show FILE... prints the sum of many tables.
"""
import os
import random
import subprocess
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(HERE, "../failover"))

import history_model as model                                       # noqa: E402
from history_node import WORKS, contents, now                       # noqa: E402
from history_run import Run, Wrong, arguments, play, show           # noqa: E402
from pacemaker_faults import FAULTS                                 # noqa: E402
from pacemaker_node import Node                                     # noqa: E402

# what Pacemaker does takes some seconds, on a machine that has nothing else to do
PATIENCE = 90


class Pacemaker(Run):
    def __init__(self, seed):
        super().__init__(seed)
        self.dir, self.cgroup = os.environ["HFT_DIR"], os.environ["HFT_CGROUP"]
        self.pause = 0.3
        self.over = False
        self.fenced = []
        self.nodes = [Node(self, n) for n in os.environ["NODES"].split()]
        self.by_name = {n.name: n for n in self.nodes}
        self.threads = [threading.Thread(target=self.attend, args=(n,)) for n in self.nodes] + [
            threading.Thread(target=self.watch_power)]

    def begin(self):
        for t in self.threads:
            t.start()
        a = self.nodes[0]
        self.crm(a, "crm_resource", "--resource", "app", "--meta", "--set-parameter", "target-role", "--parameter-value", "Started")
        self.expect()
        if not self.settle():
            raise Wrong("the group did not start")

    def end(self):
        self.over = True
        for n in self.nodes:
            if n.service:
                n.service.dead = n.service.ended = True
            n.thaw()
        for t in self.threads:
            if t.is_alive():
                t.join()
        for n in self.nodes:
            n.halt()

    def lib(self, line, *args):
        """A line of shell with lib.sh's functions."""
        p = subprocess.run(["bash", "-c", '. "%s/lib.sh"; W=$HFT_DIR CG=$HFT_CGROUP HUB=$HFT_HUB ROOTFS=$HFT_ROOTFS; %s' % (HERE, line),
                            "lib", *args], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, timeout=60)
        if p.returncode:
            raise Wrong("lib.sh: %s: exit %d (%s)" % (line, p.returncode, " ".join(args)))

    # ---- the service, and the power ----

    def attend(self, node):
        while not self.over:
            try:
                with node.turn:
                    if node.wanted() and not node.runs():
                        self.service(node)
                    elif node.runs() and not node.wanted():
                        node.halt()
            except Exception as e:      # a thread that ends unseen would start nothing
                self.broken("the service on %s: %r" % (node.name, e))
            time.sleep(0.02)

    def service(self, node):
        """Its writers begin, on what is there. Where the tree is not online, because somebody took it away meanwhile, it runs
        without doing anything, until Pacemaker finds out."""
        end = now() + 15
        while node.wanted() and node.alive() and not self.over and now() < end:
            epoch = node.mine()
            if epoch is None:
                time.sleep(0.2)
                continue
            if epoch == 0:
                (self.note if "astray" in self.may_fail else self.wrong)("P5: the service was started on %s, where the tree is not online" % node.name)
                break
            called = now()
            base = self.base(node, epoch)
            if base:
                self.owns(node, epoch)
                self.serve(node, self.tenure(node, epoch, called, called, *base)[0])
                break
        with open(node.file("runs"), "w"):
            pass

    def base(self, node, epoch):
        try:
            seen = model.look(node.tree)
            files = contents(node.tree, seen)
        except FileNotFoundError:       # it is restored again
            return None
        return (seen, files) if node.mine() == epoch else None

    def halt(self, node):
        node.halt()

    def take(self, node, *opts, serve=False):
        """`online` by hand."""
        with node.turn:
            return super().take(node, *opts, serve=serve)

    def watch_power(self):
        seen = 0
        while not self.over:
            try:
                with open(self.dir + "/bmc/log") as f:
                    lines = f.read().splitlines()
            except FileNotFoundError:
                lines = []
            for line in lines[seen:]:
                _, action, name = line.split()
                if action == "off":
                    self.by_name[name].died()
                    self.fenced.append(name)
            seen = len(lines)
            time.sleep(0.02)

    # ---- what is expected of Pacemaker ----

    def expect(self, fenced=(), failed=()):
        """What this fault accounts for: nodes that may be fenced, operations that may fail; "degraded": monitors that say so;
        "astray": somebody takes the tree away, and be it between the start of the tree and that of the service."""
        self.may_fence = {n.name for n in fenced}
        self.may_fail = set(failed)
        self.fences = len(self.fenced)

    def crm(self, node, *args):
        rc, said = node.crm(*args)
        if rc:
            self.wrong("%s: %s: exit %d: %s" % (node.name, " ".join(args), rc, said))

    def move(self, to, at):
        self.crm(at, "crm_resource", "--move", "--resource", "app", "--node", to.name)

    def clear(self, at):
        self.crm(at, "crm_resource", "--clear", "--resource", "app")

    def await_fencing(self, nodes):
        names = {n.name for n in nodes}
        return self.until(PATIENCE, "the fencing of %s" % " or ".join(sorted(names)),
                          lambda: names & set(self.fenced[self.fences:]))

    def await_service(self, nodes):
        return self.until(PATIENCE, "the service to run on %s" % " or ".join(n.name for n in nodes),
                          lambda: any(n.service for n in nodes))

    def settled(self):
        """The node that has it, if all nodes say so, and so it is; else None, and why."""
        names = set(self.by_name)
        at = set()
        for n in self.nodes:
            v = n.view()
            if v is None:
                return None, "%s has no Pacemaker" % n.name
            if v.online != names:
                return None, "%s sees %s" % (n.name, ", ".join(sorted(v.online)) or "nobody")
            if not v.where():
                return None, "%s sees it on %s" % (n.name, v.members)
            at.add(v.where())
        if len(at) != 1:
            return None, "it is on %s" % ", ".join(sorted(at))
        at = self.by_name[at.pop()]
        for n in self.nodes:
            mine, runs = n.mine(), n.runs()
            if mine is None or (bool(mine), runs, bool(n.service)) != ((True,) * 3 if n is at else (False,) * 3):
                return None, "it is to be on %s; %s has epoch %s, service %d, writers %d" % (at.name, n.name, mine, runs, bool(n.service))
        return at, ""

    def settle(self):
        """What Pacemaker comes to. Who lost power is turned on again; where Pacemaker looks after nothing a daemon that died
        is started as systemd would."""
        end, was, why = now() + PATIENCE, None, ""
        while now() < end:
            for n in self.nodes:
                if not n.alive():
                    n.start()
                elif not n.runs() and n.mine() is None and not n.daemon():
                    n.start_daemon()
            at, why = self.settled()
            if at and at is was:
                return at
            was = at
            time.sleep(0.3)
        self.wrong("Pacemaker did not come to one node that runs it in %d s: %s" % (PATIENCE, why))
        return None

    def heal(self):
        try:
            os.unlink(self.dir + "/bmc/lies")
        except FileNotFoundError:
            pass
        for n in self.nodes:
            n.disk(WORKS)
            n.thaw()
            n.mend()

    def account(self, at):
        """Nothing failed, and nobody was fenced, but what the fault accounts for."""
        for name in self.fenced[self.fences:]:
            if name not in self.may_fence:
                self.wrong("%s was fenced, for which there was no reason" % name)
        failures = self.failures(at)
        for kind, *what in failures:
            if kind not in self.may_fail:
                self.wrong("Pacemaker counts a failure: %s" % " ".join(what))
        if failures:
            self.crm(at, "crm_resource", "--cleanup")
            self.until(PATIENCE, "the clean-up", lambda: not self.failures(at), every=0.3)

    def failures(self, at):
        """The kind of each operation that failed, and what else is said of it."""
        v = at.view()
        return v.failures if v else [("view", "%s has no Pacemaker" % at.name)]

    # ---- a round ----

    def round(self, i, name, fault):
        rng = random.Random("%s round %d" % (self.seed, i))
        self.n["rounds"] += 1
        self.expect()
        o = self.settle()
        if not o:
            return
        others = [n for n in self.nodes if n is not o]
        rng.shuffle(others)
        self.confirms("before the fault")
        time.sleep(rng.random() * 0.3)
        last = self.history.tenures[-1]
        self.expect()
        fault(self, o, others, rng)
        self.heal()
        at = self.settle()
        if not at:
            return
        self.confirms("after the fault")
        self.account(at)
        if self.history.tenures[-1] is last:
            self.elsewhere(at, rng)

    def elsewhere(self, at, rng):
        """Pacemaker moves it, so that what is there can be held against what was confirmed."""
        to = rng.choice([n for n in self.nodes if n is not at])
        # crm_mon may show of a node only now that its monitor was degraded
        self.expect(failed=self.may_fail)
        self.move(to, at)
        self.await_service([to])
        self.clear(at)
        at = self.settle()
        if at:
            self.account(at)

    def at_the_end(self):
        at = self.settle()
        if at:
            self.elsewhere(at, random.Random(self.seed))
        for n in self.nodes:
            if n.service:
                n.service.stop()
        bad = self.judge()
        rc, _, err = self.nodes[0].hf("disk", "check")
        return bad + (["disk check: %d %s" % (rc, err)] if rc else [])

    def tell(self):
        for n in self.nodes:
            print("".join("# %s: %s" % (n.name, x) for x in n.log_tail(30)), end="")


def main():
    ap = arguments()
    ap.add_argument("--first", type=int, default=0)
    ap.add_argument("--tally")
    a = ap.parse_args()
    if a.show:
        show(FAULTS, a.show)
        return 0
    again = "NODES='%s' selftests/cluster/history.t" % os.environ["NODES"]
    points, failed = play(a, FAULTS, Pacemaker, again, a.first)
    with open(a.tally, "w") as f:
        f.write("%d %d\n" % (points, failed))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
