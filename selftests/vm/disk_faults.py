#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The quorum disk fails, hangs, goes away and comes back, and loses writes without
a word (device mapper: error, flakey, suspend). A sync says 0 only for what is there
later, unless the device lied (P1); then it is found out, and said.

disk_faults.py [KERNEL]..."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True

import cluster  # noqa: E402
import vm  # noqa: E402

MB = 16
SECTORS = MB * 2048
DM = "DM_DISABLE_UDEV=1 dmsetup"
Q = "/dev/disk/by-id/virtio-hfquorum"
GOOD = f"0 {SECTORS} linear {Q} 0"
GONE = f"0 {SECTORS} error"
# never up, down for longer than any test
WRITES_FAIL = f"0 {SECTORS} flakey {Q} 0 0 36000 1 error_writes"
WRITES_LOST = f"0 {SECTORS} flakey {Q} 0 0 36000 1 drop_writes"
UNAVAILABLE, STALE = 7, 6


class Faults:
    def __init__(self, tap, kernel, hf):
        self.tap, self.kernel, self.hf = tap, kernel, hf
        self.owner, self.other = hf.members
        self.machine = hf.machines.nodes[0]
        self.value = 0
        self.confirmed = None

    def ok(self, good, name, why=""):
        return self.tap.ok(good, f"{self.kernel}: {name}", why)

    def disk(self, table):
        self.machine.run(f"{DM} load quorum --table '{table}' && {DM} suspend --noflush quorum; "
                         f"{DM} resume quorum")

    def write(self):
        """A new value; the exit status of its sync, and what was said."""
        self.value += 1
        self.owner.run(f"echo {self.value} >etc/app/new && mv etc/app/new etc/app/f")
        r = self.owner.exec("sync app", timeout=60)
        if r.status == 0:
            self.confirmed = self.value
        return r

    def must(self):
        r = self.write()
        self.ok(r.status == 0, "it goes on", f"exit {r.status}: {r.output}\n{self.owner.log()[-1500:]}")

    def degraded(self):
        return self.owner.resource("app").get("degraded")

    def take_over(self, what):
        """The other node has what was confirmed last, or what was written after that."""
        x, y = self.owner, self.other
        x.crash()
        y.hf("online app --fenced")
        got = int(y.run("cat etc/app/f"))
        self.ok(self.confirmed <= got <= self.value, f"P1: {what}: what was confirmed is on the other node",
                f"{got}, confirmed {self.confirmed}, written {self.value}")
        self.value = self.confirmed = got
        x.up()
        x.until(lambda: x.resource("app")["owner"] == y.name, "it knows the new owner")
        self.owner, self.other = y, x
        status, output = y.exec(f"disk check {self.hf.disk}")
        self.ok(status == 0, f"{what}: and the disk is sound", output)

    def failing(self, table, what):
        """While it fails nothing is confirmed; then all is."""
        o = self.owner
        self.must()
        self.disk(table)
        codes = [self.write().status for _ in range(3)]
        self.ok(set(codes) == {UNAVAILABLE}, f"P1: {what}: sync says that the store is unavailable", codes)
        o.until(self.degraded, "it is degraded")
        self.ok(o.state("app") == "online", f"{what}: degraded, and online", o.resource("app"))
        self.disk(GOOD)
        o.until(lambda: not self.degraded(), "it is well again")
        self.must()

    def away(self):
        """Nothing can be read either."""
        y = self.other
        self.disk(GONE)
        codes = {verb: y.exec(verb)[0] for verb in ("online app --fenced", f"disk check {self.hf.disk}",
                                                    f"disk info {self.hf.disk}")}
        self.ok(set(codes.values()) == {UNAVAILABLE}, "a disk that is gone: each verb that needs it exits 7", codes)
        self.disk(GOOD)
        self.must()

    def hanging(self):
        """It does not answer: sync ends after commit-timeout, or when the disk answers."""
        o = self.owner
        o.hf("resource set app commit-timeout=2s")
        self.must()
        self.machine.run(f"{DM} suspend --noflush --nolockfs quorum")
        r = self.write()
        self.ok(r.status == UNAVAILABLE, "P1: a disk that hangs: sync gives up in time, and says so",
                f"exit {r.status}: {r.output}")
        self.machine.run(f"{DM} resume quorum")
        o.until(lambda: not self.degraded(), "it is well again")
        self.must()

    def lying(self):
        """Writes are acknowledged and lost. The first sync cannot know; soon it is known."""
        o = self.owner
        self.must()
        before = self.confirmed
        since = len(o.log())
        self.disk(WRITES_LOST)
        first = self.write()
        self.tap.diag(f"the first sync that was lied to: exit {first.status}")
        self.confirmed = before
        o.wait_said("loses writes", since)
        self.ok(True, "P1: a disk that loses writes: the heartbeat finds out, and says so")
        o.until(lambda: self.write().status == STALE, "sync does not say 0 any more")
        codes = [self.write().status for _ in range(3)]
        self.ok(0 not in codes, "and no sync says 0 any more", codes)
        self.confirmed = before
        self.disk(GOOD)
        self.tap.diag(o.log()[since:])


def one(tap, kernel):
    with vm.Cluster(kernel, disk_mb=MB, tools=["dmsetup"], modules=["dm_flakey"]) as machines:
        hf = cluster.Holdfast(machines, size_nodes=2, track={"source": "fanotify"}, disk="/dev/mapper/quorum")
        machines.start()
        machine = machines.nodes[0]
        machine.run(f"modprobe dm-mod && modprobe dm-flakey && {DM} create quorum --table '{GOOD}'")
        hf.setup(daemons=False)
        hf.add(machine, "other")
        for m in hf.members:
            m.up()
            m.run("mkdir -p etc/app")
        hf.members[0].register("app", "/etc/app", options="--allow-empty")
        hf.members[0].hf("online app --allow-empty")
        f = Faults(tap, kernel, hf)
        f.failing(WRITES_FAIL, "writes that fail")
        f.take_over("writes that failed")
        f.failing(GONE, "a disk that is gone")
        f.away()
        f.take_over("a disk that was gone")
        f.hanging()
        f.take_over("a disk that hung")
        f.lying()
        f.take_over("a disk that lost writes")
        f.must()
        hf.stop()
        machine.run(f"{DM} remove quorum")
        vm.verdicts(tap, machines, f"{kernel} ")


def test(tap):
    for kernel in sys.argv[1:] or vm.KERNELS:
        one(tap, kernel)


vm.main(test)
