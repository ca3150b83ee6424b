#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Machines lose their power: at each point of the protocols, and at random. What a
sync confirmed is on the machine that takes over, whole (P1); the one that comes
back owns nothing (P4); a restore that was cut short is finished first (P5).

power.py [KERNEL]...; SEED= as a run before printed it, ROUNDS= cuts at random (1). The
points are shared out between the kernels; with ROUNDS each of them gets all."""

import os
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True

import cluster  # noqa: E402
import initrd  # noqa: E402
import steps  # noqa: E402
import vm  # noqa: E402

ROUNDS = int(os.environ.get("ROUNDS", 1))
SHARES = 1 if "ROUNDS" in os.environ else len(vm.KERNELS)
STEPS = os.path.join(initrd.HERE, "guest/steps")
TREE = "/etc/app"
RESUMED = "app: online-pending -> online"
STEPS_AFTER = 2		# what the new owner adds
# (where the owner's power is cut, where that of the one that takes over is)
CUTS = [
    ("commit.captured:3", "restore.write:3"),
    ("commit.append:4", None),
    ("commit.durable:5", "restore.rename:4"),
    ("confirm.read:6", "claim.accept:1"),
    ("confirm.done:5", None),
    ("sync.reply:4", "restore.remove:1"),
    ("base.append:1", "claim.seal:1"),
    ("trim.confirm:1", "restore.meta:1"),
    ("trim.row:1", "claim.check:1"),
    ("disk.write:45", "claim.ballot:1"),
]


class Power:
    """Two nodes that take turns, and the tree that goes to and fro."""

    def __init__(self, tap, kernel, rng, hf):
        self.tap, self.kernel, self.rng = tap, kernel, rng
        self.owner, self.other = hf.members
        self.tree = steps.Tree()

    def ok(self, good, name, why=""):
        return self.tap.ok(good, f"{self.kernel}: {name}", why)

    def prepare(self):
        o = self.owner
        o.run(f"mkdir -p .{TREE} && : >.{TREE}/log")
        o.register("app", TREE)
        o.hf("resource set app delete-guard=0")
        o.hf("online app")
        self.tree.state = {"log": ("f", 0o644, "")}

    def write(self, member, count=""):
        return member.machine.spawn(
            f"exec /hf/tests/steps {member.path(TREE)} {self.tree.step} {count}")

    def check(self, member, job, name):
        """What a node has now, against what was confirmed to job."""
        last = steps.confirmed(job.output)
        tar = member.machine.spawn(f"tar -C {member.path(TREE)} -cf - .")
        if tar.wait().status:
            raise vm.Failed(f"{member.name}: tar: {tar.output[-300:]}")
        wrong = self.tree.match(steps.read(bytes(tar.output)), last,
                                member.resource("app")["consistent"])
        self.ok(wrong is None, f"P1: {name}: what was confirmed is on {member.name}",
                f"{wrong}\n{member.log()[-1500:]}")

    def write_on(self, member):
        job = self.write(member, STEPS_AFTER)
        status, output = job.wait(60)
        if status:
            raise vm.Failed(f"{member.name} cannot write on: {output}")
        self.check(member, job, "and what it adds")

    def restart(self, member, seam):
        """The daemon once more, with a point at which the machine goes off."""
        member.crash()
        member.up(seam, wait=False)

    def cut_at(self, member, seam, doing):
        """doing() until the power goes at the seam."""
        try:
            doing()
        except vm.NodeDown:
            pass
        try:
            member.machine.wait_off(40)
            return True
        except vm.Timeout:
            member.machine.power_cut()
            return self.ok(False, f"the power of {member.name} is cut at {seam}",
                           member.log()[-1500:])

    def lose(self, member, seam=None):
        """The owner writes, and goes off: at a seam, or at random. Its writer."""
        if seam:
            self.restart(member, f"{seam}:power")
        job = self.write(member)
        if seam:
            self.cut_at(member, seam, lambda: job.wait(40))
        else:
            time.sleep(self.rng.uniform(0.2, 2.5))
            member.machine.power_cut()
        return job

    def take(self, member, seam):
        """Go online after the other was cut; cut at seam first, if there is one."""
        if seam:
            self.cut_at(member, seam, lambda: member.exec("online app --fenced"))
            since = len(member.log())
            member.boot()
            member.until(lambda: member.said("app: online-pending -> ", since) or
                         member.state("app") == "offline", "it is finished, or was not begun")
            if seam.startswith("restore."):
                self.ok(member.owner("app") == member.name,
                        f"P5: a restore that was cut at {seam} is finished first",
                        member.log()[since:])
        if member.owner("app") != member.name or member.state("app") != "online":
            member.hf("online app --fenced")

    def stale(self, member, since):
        """Back again, it knows that it was fenced out."""
        member.wait_said(r"app: compared with generation \d+, \d+ entries of this node were never "
                         "confirmed|an interrupted takeover is void", since)
        status, output = member.exec("sync app")
        self.ok(status in (5, 6) and member.owner("app") == self.owner.name,
                f"P4: {member.name} is back, and owns nothing", f"exit {status}: {output}")

    def back(self, member):
        """Switched on again while the other is the owner."""
        since = len(member.log())
        member.machine.wait_up()
        member.boot()
        self.stale(member, since)

    def round(self, point, taker_point):
        """The owner is cut, the other takes over, writes on; the first comes back."""
        x, y = self.owner, self.other
        if taker_point:
            self.restart(y, f"{taker_point}:power")
            y.wait_up()
        job = self.lose(x, point)
        x.machine.start(wait=False)
        self.take(y, taker_point)
        self.owner, self.other = y, x
        cut = f"cut at {point or 'random'}" + (f", then at {taker_point}" if taker_point else "")
        self.check(y, job, cut)
        self.write_on(y)
        self.back(x)

    def aside(self):
        """What is on the disk of the machine that was cut, and nobody had seen."""
        x, y = self.owner, self.other
        job = self.write(x, STEPS_AFTER)
        job.wait(60)
        x.crash()
        x.run(f"echo held >.{TREE}/held && sync")
        x.machine.power_cut()
        x.machine.start(wait=False)
        self.take(y, None)
        self.owner, self.other = y, x
        self.check(y, job, "cut while there was no daemon")
        self.back(x)
        held = [e["rel"] for s in x.json("displaced list app")["sets"] for e in s["entries"]]
        self.ok("held" in held, "P7: what was never confirmed is kept aside, and listed",
                f"{held}\n{x.log()[-1000:]}")

    def same(self):
        """Nobody takes over: the machine comes back with what its disk has."""
        x = self.owner
        job = self.lose(x, "confirm.done:12")
        since = len(x.log())
        x.boot()
        x.wait_said(RESUMED, since)
        self.check(x, job, "cut, and resumed by itself")

    def spooled(self):
        """Stopped without the store, and cut: the trees were all that had the last changes."""
        x = self.owner
        job = self.write(x, STEPS_AFTER)
        if job.wait(60).status:
            raise vm.Failed(f"{x.name}: {job.output[-500:]}")
        self.restart(x, "commit.append:0:eio")
        x.wait_said(RESUMED, len(x.earlier))
        x.run(f"echo spooled >.{TREE}/spooled")
        out = x.hf("--json offline app")
        self.ok('"spooled":true' in out, "stopped without the store", out)
        x.machine.power_cut()
        since = len(x.log())
        x.boot()
        x.until(lambda: x.owner("app") is None, "the last changes are committed and released")
        x.hf("online app")
        self.ok(x.run(f"cat .{TREE}/spooled; rm .{TREE}/spooled") == "spooled\n",
                "P1: what was spooled when the power was cut is in the store", x.log()[since:])
        self.check(x, job, "stopped without the store, and cut")

    def frozen(self):
        """Frozen during a commit; the other takes over; it goes on as if nothing was."""
        x, y = self.owner, self.other
        self.restart(x, "commit.durable:6:sleep=3000")
        job = self.write(x)
        self.wait_silence(x, job)
        x.machine.freeze()
        y.hf("online app --fenced", timeout=60)
        self.owner, self.other = y, x
        self.check(y, job, "frozen during a commit")
        before = steps.confirmed(job.output)
        self.write_on(y)
        x.machine.thaw()
        status, output = job.wait(60)
        self.ok(status == 6 and steps.confirmed(job.output) == before,
                "P4: thawed, it gets ESTALE, and nothing more is confirmed", output[-500:])
        job = self.write(y, STEPS_AFTER)
        job.wait(60)
        self.check(y, job, "and P4: nothing of the other's is damaged")
        y.hf(f"disk check {cluster.DISK}")

    @staticmethod
    def wait_silence(member, job):
        """Until the writer waits for the seam that sleeps."""
        end = time.monotonic() + 60
        seen, since = None, 0
        while time.monotonic() < end:
            if len(job.output) != seen:
                seen, since = len(job.output), time.monotonic()
            lines = bytes(job.output).splitlines()
            if lines and lines[-1].startswith(b"sync") and time.monotonic() - since > 1:
                return
            time.sleep(0.05)
        raise vm.Timeout(f"{member.name} never came to the seam\n{member.log()[-1000:]}")


def one(tap, kernel):
    rng = cluster.seed()
    with vm.Cluster(kernel, nodes=2, cpus=1, files=[(STEPS, "/hf/tests/steps")]) as machines:
        hf = cluster.Holdfast(machines, track={"source": "kernel", "require": "kernel"})
        hf.setup()
        p = Power(tap, kernel, rng, hf)
        p.prepare()
        for point, taker_point in CUTS[vm.KERNELS.index(kernel) % SHARES::SHARES]:
            p.round(point, taker_point)
        for _ in range(ROUNDS):
            p.round(None, None)
        p.same()
        p.spooled()
        p.aside()
        p.frozen()
        hf.stop()
        vm.verdicts(tap, machines, f"{kernel} ")


def test(tap):
    for kernel in sys.argv[1:] or vm.KERNELS:
        one(tap, kernel)


vm.main(test)
