#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Every write that daemons make to the quorum disk is recorded by dm-log-writes. Then the
disk is rebuilt as it may have been at any moment at which the power could have gone, and
each time it is sound, and what was confirmed is on it (P1, P11).

crash.py [KERNEL]...; SEED= as a run before printed it, STEPS= of each turn of each
resource (6), SAMPLES= torn disks at each flush (6), RECOVERIES= (4)."""

import os
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True

import cluster  # noqa: E402
import vm  # noqa: E402

STEPS = int(os.environ.get("STEPS", 6))
SAMPLES = int(os.environ.get("SAMPLES", 6))
RECOVERIES = int(os.environ.get("RECOVERIES", 4))
BUILT = os.path.join(vm.BUILD, "selftests/vm")
DISK_MB = 14
LOG_MB = 100 + 20 * STEPS
RESOURCES = ("app", "db")

SECTORS = 2048		# in a MiB
# The log lies behind the quorum disk, where this side finds it.
MAPS = f"""
export DM_DISABLE_UDEV=1
modprobe dm-log-writes
q=/dev/disk/by-id/virtio-hfquorum
grep -q 'write back' /sys/block/$(basename $(readlink -f $q))/queue/write_cache
dmsetup create data --table "0 {DISK_MB * SECTORS} linear $q 0"
dmsetup create log --table "0 {LOG_MB * SECTORS} linear $q {DISK_MB * SECTORS}"
dmsetup create quorum --table "0 {DISK_MB * SECTORS} log-writes /dev/mapper/data /dev/mapper/log"
"""
UNMAP = "export DM_DISABLE_UDEV=1; for d in quorum log data; do dmsetup remove $d || exit; done"
# makes the steps $2 to $3 of the resource $1, says of each that it was confirmed
WRITER = r"""#!/bin/sh
res=$1 i=$2 root=$4
tmp=$(mktemp -d "$root/steps.XXXXXX")
while [ "$i" -le "$3" ]; do
	/hf/tests/crash_step "$root/etc/$res" "$tmp" "$i" || exit
	holdfast -c "$5" sync "$res" || exit
	dmsetup message quorum 0 mark "step:$res:$i" || exit
	i=$((i + 1))
done
rm -r "$tmp"
"""


class Turns:
    """Two nodes on one machine, two resources that go to and fro between them."""

    def __init__(self, hf):
        self.hf = hf
        self.a, self.b = hf.members
        self.machine = hf.machines.nodes[0]
        self.step = 1

    def mark(self, text):
        self.machine.run(f"dmsetup message quorum 0 mark '{text}'")

    def prepare(self):
        for m in (self.a, self.b):
            m.run("mkdir -p etc/app etc/db")
        for r in RESOURCES:
            self.a.register(r, f"/etc/{r}", options="--allow-empty")
            # what is kept of the past is little, so that its space is used again
            self.a.hf(f"resource set {r} delete-guard=0 retain=2")

    def turn(self, owners):
        """Each resource's owner writes, all at the same time."""
        last = self.step + STEPS - 1
        jobs = [self.machine.spawn(f"exec /node/writer {r} {self.step} {last} {m.root} {m.conf} 2>&1")
                for r, m in zip(RESOURCES, owners)]
        for r, m, job in zip(RESOURCES, owners, jobs):
            status, output = job.wait(STEPS * 10 + 60)
            if status:
                raise vm.Failed(f"{r} on {m.name}: exit {status}: {output}\n{m.log()[-2000:]}")
        self.step = last + 1

    def run(self):
        a, b = self.a, self.b
        for r, m in zip(RESOURCES, (a, b)):
            m.hf(f"online {r} --allow-empty")
        self.turn((a, b))
        a.hf("offline app")
        b.hf("online app")
        self.turn((b, b))
        b.crash()
        for r in RESOURCES:
            a.hf(f"online {r} --fenced")
        b.up()
        self.turn((a, a))
        a.hf("offline db")
        b.hf("online db")
        self.turn((a, b))
        self.hf.stop()
        self.mark("end")


def record(kernel, where):
    """Runs the daemons; leaves the log and the key in where. The machine's verdict."""
    with vm.Cluster(kernel, disk_mb=DISK_MB + LOG_MB, tools=["dmsetup", "readlink", "basename"],
                    modules=["dm_log_writes"],
                    files=[(os.path.join(BUILT, "crash_step"), "/hf/tests/crash_step")]) as machines:
        hf = cluster.Holdfast(machines, size_nodes=2, track={"source": "fanotify"},
                              disk="/dev/mapper/quorum")
        machines.start()
        machine = machines.nodes[0]
        machine.run(f"set -e\n{MAPS}")
        machine.put("/node/writer", WRITER, "755")
        hf.setup(daemons=False)
        hf.add(machine, "other")
        turns = Turns(hf)
        turns.mark("formatted")
        for m in hf.members:
            m.up()
        turns.prepare()
        turns.run()
        machine.run(UNMAP)
        with open(os.path.join(where, "key"), "wb") as f:
            f.write(hf.key)
        os.chmod(f.name, 0o600)
        verdict = machines.verdict()
        os.rename(machines.disk, os.path.join(where, "recorded"))
        return verdict


def one(tap, kernel):
    rng = cluster.seed()
    # the disk in memory, where it can be: it is written often
    place = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with (tempfile.TemporaryDirectory(prefix="crash.") as where,
          tempfile.TemporaryDirectory(prefix="crash.", dir=place) as image):
        for number, verdict in record(kernel, where).items():
            tap.ok(verdict == "ok", f"{kernel}: n{number}: verdict", verdict)
        r = subprocess.run([os.path.join(BUILT, "crash_replay"), os.path.join(where, "recorded"),
                            str(DISK_MB << 20), str(DISK_MB), os.path.join(where, "key"), image,
                            str(rng.randrange(1 << 32)), str(SAMPLES), str(RECOVERIES), *RESOURCES],
                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for line in r.stdout.splitlines():
            tap.diag(line.removeprefix("# "))
        tap.ok(r.returncode == 0, f"{kernel}: P1: whenever the power goes, the disk is sound and has "
               "what was confirmed", f"exit {r.returncode}")


def test(tap):
    for kernel in sys.argv[1:] or vm.KERNELS:
        one(tap, kernel)


vm.main(test)
