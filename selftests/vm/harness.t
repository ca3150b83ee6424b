#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The test of what runs tests: machines do as they are told, and nothing that
went wrong in one passes."""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
sys.dont_write_bytecode = True

import vm  # noqa: E402

CLUSTER_KERNEL, RUN_KERNEL = vm.KERNELS

IN_GUEST = {
    "passes": "echo 1..2; echo ok 1 - one; echo 'ok 2 - two'",
    "fails": "echo 1..2; echo ok 1 - one; echo 'not ok 2 - two'; exit 1",
    "silent": "exit 0",
    "skips": "echo '1..0 # SKIP no reason'; exit 4",
    "skips-one": "echo 1..2; echo ok 1 - one; echo 'ok 2 - two # SKIP no reason'",
    "planned": "echo '1..0 # SKIP as planned'; exit 4",
    "planned-one": "echo 1..2; echo ok 1 - one; echo 'ok 2 - two # SKIP as planned'",
    "stale-plan": "echo 1..1; echo 'ok 1 - one'",
    "stops": "echo 1..3; echo ok 1 - one",
    "lies": "echo 1..1; echo ok 1 - one; exit 1",
    "hides": "echo 1..1; echo not ok 1 - one; exit 0",
    "leaves": "sleep 1000 >/dev/null 2>&1 & echo 1..1; echo ok 1 - one",
    "panics": "echo 1 >/proc/sys/kernel/sysrq; echo c >/proc/sysrq-trigger; sleep 60",
}
PLANNED = f"""
{RUN_KERNEL} planned as this test has it
{RUN_KERNEL} planned-one: two
{RUN_KERNEL} stale-plan it does run
"""


def run(work, *tests, skips="/dev/null"):
    """selftests/vm/run: its status, and {name of point: passed, skipped}."""
    for t in tests:
        path = os.path.join(work, t)
        with open(path, "w") as f:
            f.write(f"#!/bin/sh\n{IN_GUEST[t]}\n")
        os.chmod(path, 0o755)
    r = subprocess.run([os.path.join(HERE, "run"), "-k", RUN_KERNEL, "--skips", skips] +
                       [os.path.join(work, t) for t in tests],
                       stdout=subprocess.PIPE, text=True)
    points = {}
    for line in r.stdout.splitlines():
        m = re.match(r"(not )?ok \d+ - (.*?)( # SKIP.*)?$", line)
        if m:
            points[m[2].removeprefix(f"{RUN_KERNEL} ")] = "skip" if m[3] else not m[1]
    return r.returncode, points, r.stdout


def test_run(tap, work):
    status, points, out = run(work, "passes")
    names = list(points)
    tap.ok(status == 0 and all(points.values()), "a test that passes passes", out)
    tap.ok(names[-1] == "n1: verdict", "the verdict is the last point", out)

    skips = os.path.join(work, "planned-skips")
    with open(skips, "w") as f:
        f.write(PLANNED)
    several = ["fails", "silent", "skips", "skips-one", "planned", "planned-one", "stale-plan",
               "stops", "lies", "hides", "passes", "leaves"]
    status, points, out = run(work, *several, skips=skips)
    tap.ok(status == 1, "a run with a failure fails", out)
    tap.ok(points["fails: two"] is False and points["fails: one"] is True,
           "a point that fails fails")
    for name, what in {
            "silent: runs to its end": "a test that prints nothing fails",
            "skips: runs to its end": "a test that is skipped fails",
            "skips-one: two": "a point that is skipped fails",
            "stale-plan: runs to its end": "a planned skip that does not happen fails",
            "stops: runs to its end": "a test that stops early fails",
            "lies: runs to its end": "a test whose status says it failed fails",
            "hides: runs to its end": "a test whose status hides a failure fails",
            "n1: verdict": "a run that leaves a process fails"}.items():
        tap.ok(points.get(name) is False, what, out)
    tap.ok(points["planned: runs to its end"] == "skip" and points["planned-one: two"] == "skip",
           "a planned skip is one", out)
    tap.ok(points["passes: runs to its end"] is True, "a test after one that failed still runs")

    status, points, out = run(work, "panics", "passes")
    tap.ok(status == 1 and not any(points.values()) and "sysrq triggered crash" in out,
           "a kernel that panics fails all that follows, and its last words are shown", out)


def test_commands(tap, a):
    tap.ok(a.exec("echo out; echo err >&2; exit 3") == (3, "out\nerr\n"), "status and output")
    first = a.spawn("cat; echo first")
    tap.ok(a.exec("echo second") == (0, "second\n"), "a command beside another")
    tap.ok(first.wait() == (0, "first\n"), "a spawned one is waited for")
    killed = a.spawn("echo begun; exec sleep 1000")
    while not killed.output:
        time.sleep(0.05)
    killed.kill(signal.SIGTERM)
    tap.ok(killed.wait() == (128 + 15, "begun\n"), "output comes while it runs; it can be killed")
    try:
        a.exec("sleep 1000", timeout=1)
        tap.ok(False, "a wait is bounded")
    except vm.Timeout:
        tap.ok(a.exec("pidof sleep").status == 1, "a wait is bounded, and the command ended then")
    data = os.urandom(3_000_000)
    a.put("/node/data", data)
    tap.ok(a.get("/node/data") == data, "files go in and out")


def test_shared(tap, c, a, b):
    disk = "/dev/disk/by-id/virtio-hfquorum"
    a.run(f"printf %-4096s from-a | dd of={disk} bs=4k seek=3 oflag=direct conv=notrunc")
    seen = b.run(f"dd if={disk} bs=4k skip=3 count=1 iflag=direct 2>/dev/null | head -c 6")
    tap.ok(seen == "from-a", "one sees what the other wrote to the shared disk", seen)

    def ping(waits="-w 20"):
        return a.exec(f"ping -c 1 {waits} n2").status == 0

    tap.ok(ping(), "they reach each other")
    c.cut(a, b)
    tap.ok(not ping("-W 2"), "not with the network cut")
    c.mend(a, b)
    tap.ok(ping(), "again when it is mended")
    b.link(False)
    tap.ok(not ping("-W 2"), "not with the cable unplugged")
    b.link(True)
    tap.ok(ping(), "again when it is plugged")

    counter = b.spawn("i=0; while :; do i=$((i + 1)); echo $i >/tmp/n; sleep 0.05; done")
    b.run("until [ -s /tmp/n ]; do sleep 0.1; done")
    b.freeze()
    asked = b.spawn("cat /tmp/n")
    tap.ok(not asked.ended.wait(2) and not ping("-W 2"), "a frozen one does nothing")
    b.thaw()
    tap.ok(asked.wait().status == 0, "and goes on when it is thawed")
    counter.kill()
    counter.wait()


def test_power(tap, a, b):
    a.run("echo 360000 >/proc/sys/vm/dirty_writeback_centisecs; echo kept >/node/kept; "
          "sync /node/kept; sync /node; echo gone >/node/gone")
    job = a.spawn("sleep 1000")
    a.power_cut()
    try:
        job.wait()
        tap.ok(False, "who waits for a command learns of the power cut")
    except vm.PowerOff:
        tap.ok(True, "who waits for a command learns of the power cut")
    b.spawn("echo 1 >/proc/sys/kernel/sysrq; echo b >/proc/sysrq-trigger")
    b.wait_off()
    tap.ok(not b.up, "a machine can cut its own power")
    a.start()
    tap.ok(a.get("/node/kept") == b"kept\n", "what was synced before a power cut is there")
    tap.ok("gone" not in a.run("cat /node/gone 2>/dev/null; :"),
           "what was only in the page cache is gone")
    a.run("echo clean >/node/clean")
    a.shutdown()
    a.start()
    tap.ok(a.get("/node/clean") == b"clean\n", "a clean shutdown loses nothing")


def test_verdict(tap, a):
    """Every reason of the verdict, in one machine, before the one that counts."""

    def said(before, after=":"):
        a.run(before)
        a.exec("/hf/verdict /tmp/verdict")
        line = a.run(f"cat /tmp/verdict; {after}").strip()
        tap.diag(line)
        return line

    tap.ok(said(":") == "ok", "verdict: ok when nothing is wrong")
    tap.ok("sleep 1234" in said("sleep 1234 >/dev/null 2>&1 &", "killall sleep"),
           "verdict: a process that is left fails")
    tap.ok("left no ledger" in said("modprobe holdfast; rmmod holdfast"),
           "verdict: a module that was there and left no ledger fails")
    tap.ok("printed no ledger" in said("modprobe holdfast"),
           "verdict: one that leaves none when the verdict unloads it fails")
    tap.ok(said("modprobe holdfast ledger='tree 2/2 dir 31/31'") == "ok" and
           a.exec("test -d /sys/module/holdfast").status == 1,
           "verdict: a loaded module is unloaded, and its ledger balances")
    tap.ok("dir 3/2" in said("modprobe holdfast ledger='tree 1/1 dir 3/2'; rmmod holdfast; "
                             "modprobe holdfast ledger='tree 1/1 dir 3/3'"),
           "verdict: a ledger that does not balance fails, also an earlier one")
    tap.ok("WARNING: CPU: 0" in said("echo '<4>WARNING: CPU: 0 PID: 1 at x' >/dev/kmsg; "
                                     "dmesg -c >/dev/null"),
           "verdict: a warning of the kernel fails, also when dmesg was emptied")
    tap.ok("cannot be unloaded" in said("modprobe holdfast pin=1"),
           "verdict: a module that cannot be unloaded fails")
    tap.ok("tainted" in said("echo 64 >/proc/sys/kernel/tainted"), "verdict: taint fails")


def test_orphan(tap, work):
    """A run that is killed takes its machines with it."""
    code = (f"import sys; sys.path.insert(0, {HERE!r}); import vm, time\n"
            f"c = vm.Cluster({CLUSTER_KERNEL!r}); c.nodes[0].start(wait=False)\n"
            "print(c.nodes[0].process.pid, flush=True); time.sleep(600)")
    p = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True,
                         env=dict(os.environ, TMPDIR=work))
    qemu = int(p.stdout.readline())
    p.kill()
    p.wait()

    def alive():
        try:
            with open(f"/proc/{qemu}/stat") as f:
                return f.read().rsplit(")", 1)[1].split()[0] != "Z"
        except OSError:
            return False

    for _ in range(100):
        if not alive():
            break
        time.sleep(0.1)
    tap.ok(not alive(), "a run that is killed leaves no machine")


def fixture_module(work, kernel):
    """A module that leaves what ledger it is told."""
    src = os.path.join(work, "module")
    shutil.copytree(os.path.join(HERE, "fixtures"), src)
    r = subprocess.run(["make", "-C", kernel.kdir, f"M={src}", "modules"], text=True,
                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                       env={k: v for k, v in os.environ.items() if not k.startswith("MAKE")})
    if r.returncode:
        raise vm.VmError(f"the fixture does not build for {kernel.release}:\n{r.stdout}")
    return os.path.join(src, "holdfast.ko")


def test(tap):
    with tempfile.TemporaryDirectory(prefix="hfharness.") as work:
        test_run(tap, work)
        test_orphan(tap, work)
        kernel = vm.kernel(CLUSTER_KERNEL)
        module = fixture_module(work, kernel)
        extra = f"/lib/modules/{kernel.release}/extra/holdfast.ko"
        with vm.Cluster(CLUSTER_KERNEL, nodes=2, files=[(module, extra)]) as c:
            c.start()
            a, b = c.nodes
            test_commands(tap, a)
            test_shared(tap, c, a, b)
            test_power(tap, a, b)
            # b is off, which is no verdict
            tap.ok(b.verdict().startswith("fail n2 was off"), "a machine that is off has failed")
            tap.ok(a.verdict_line is None, "nothing is on the verdict's port before it is asked")
            tap.ok(a.verdict() == "ok", "a machine that had its power cut can end well")
            b.start()
            test_verdict(tap, b)
            b.run("echo ok >/dev/virtio-ports/hf.verdict")
            tap.ok("before it was asked" in b.verdict(), "a verdict that comes early fails")


vm.main(test)
