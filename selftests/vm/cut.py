#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""With the module, each generation that is called consistent is a cut (P3) through what cut_writer
writes, stores to shared mappings included: SQLite with its wal-index, a TDB that is mapped.
All of them are looked at, from outside, by selftests/tree/cut.py. So is each group of generations of
several resources (C45), by selftests/rules/c45_group.py.

    cut.py [6.1|6.12]...    SECONDS_EACH= (5), KINDS="counters mapped dirs …" """

import os
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True

import cluster  # noqa: E402
import initrd  # noqa: E402
import vm  # noqa: E402

SECONDS = int(os.environ.get("SECONDS_EACH") or 5)
KINDS = (os.environ.get("KINDS") or "counters mapped dirs journal wal tdb across").split()
ACROSS = "across" in KINDS
KINDS = [k for k in KINDS if k != "across"]
WRITER = os.path.join(initrd.BUILD, "selftests/tree/cut_writer")
LOOK = os.path.join(initrd.REPO, "selftests/tree/cut.py")
LIBTDB = "/usr/lib/x86_64-linux-gnu/libtdb.so.1"
GROUPS = os.path.join(initrd.REPO, "selftests/rules/c45_group.py")
MEMBERS = ["one", "two", "three"]
ENOUGH = 8


def python():
    """One that has what the second decoder and TDBs need."""
    for p in ("python3", "/usr/bin/python3"):
        if not subprocess.run([p, "-c", "import nacl.bindings, tdb"], capture_output=True).returncode:
            return p
    raise vm.VmError("no python3 with nacl and tdb: scripts/deps.sh check")


def write(tap, kernel, a, kind):
    a.run(f"mkdir -p srv/{kind}")
    a.register(kind, f"/srv/{kind}", options="--allow-empty")
    a.hf(f"resource set {kind} retain=1000000 settle=0 min-pause=0 delete-guard=0%")
    a.hf(f"online {kind} --allow-empty")
    job = a.machine.spawn(f"exec /hf/tests/cut_writer {a.root}/srv/{kind} {kind} 0 12")
    time.sleep(SECONDS)
    a.until(lambda: job.done or a.resource(kind)["generation"] >= 2 * ENOUGH, f"{kind}: generations", timeout=300)
    job.kill(signal.SIGTERM)
    status, output = job.wait()
    tap.ok(not status, f"{kernel}: {kind}: {output.strip()} steps", output)
    a.sync(kind)
    a.hf(f"offline {kind}")


def write_across(tap, kernel, a):
    """Groups beside a writer that chains from one resource to the next."""
    a.run("mkdir across")
    for i, name in enumerate(MEMBERS):
        a.run(f"mkdir -p srv/{name} && ln -s {a.root}/srv/{name} across/{i}")
        a.register(name, f"/srv/{name}", options="--allow-empty")
        a.hf(f"resource set {name} retain=1000000 settle=0 min-pause=0 delete-guard=0%")
        a.hf(f"online {name} --allow-empty")
    job = a.machine.spawn(f"exec /hf/tests/cut_writer {a.root}/across across 0 12")
    made = none = 0
    end = time.monotonic() + SECONDS
    while time.monotonic() < end or (made < ENOUGH and time.monotonic() < end + 120):
        status, _ = a.exec(f"sync --quick --group {' '.join(MEMBERS)}")
        made += not status
        none += bool(status)
    job.kill(signal.SIGTERM)
    status, output = job.wait()
    tap.ok(not status, f"{kernel}: across: {output.strip()} steps", output)
    tap.ok(made >= ENOUGH, f"{kernel}: {made} groups, {none} none")
    a.hf(f"sync --group {' '.join(MEMBERS)}")
    for name in MEMBERS:
        a.hf(f"offline {name}")


def look_across(tap, kernel, disk, key):
    r = subprocess.run([python(), GROUPS, disk, key, "cut"] + MEMBERS, capture_output=True, text=True, timeout=900)
    lines = r.stdout.splitlines() or ["0 0 0 0 0"]
    tap.ok(not r.returncode, f"{kernel}: all groups are read", r.stderr)
    tap.diag("\n".join(x[2:] for x in lines if x.startswith("#")))
    complete, incomplete, bad, near, near_bad = (int(x) for x in lines[-1].split())
    tap.ok(complete > ENOUGH and not incomplete, f"{kernel}: {complete} groups are on the disk, all complete", incomplete)
    tap.ok(not bad, f"{kernel}: P3, C45: each of them is one cut through {len(MEMBERS)} resources", bad)
    tap.diag(f"of {near} neighbours that are no group {near_bad} are none")


def one(tap, kernel):
    files = [(WRITER, "/hf/tests/cut_writer"), (LIBTDB, LIBTDB)]
    with vm.Cluster(kernel, tools=["sqlite3"], files=files, disk_mb=256 + 16 * SECONDS) as machines:
        hf = cluster.Holdfast(machines, lease="20s", track={"source": "kernel", "require": "kernel"})
        hf.setup()
        a = hf.members[0]
        for kind in KINDS:
            write(tap, kernel, a, kind)
        if ACROSS:
            write_across(tap, kernel, a)
        hf.stop()
        key = os.path.join(machines.dir, "key")
        with open(key, "wb") as f:
            f.write(hf.key)
        if ACROSS:
            look_across(tap, kernel, machines.disk, key)
        r = subprocess.run([python(), LOOK, machines.disk, key] + [f"{k}={k}" for k in KINDS],
                           capture_output=True, text=True, timeout=900)
        lines = r.stdout.splitlines()
        tap.ok(not r.returncode, f"{kernel}: all generations are read", r.stderr)
        tap.diag("\n".join(x[2:] for x in lines if x.startswith("#")))
        for line in lines:
            if line.startswith("#"):
                continue
            name, gens, consistent, fuzzy, bad, fuzzy_bad = line.split()
            tap.ok(not int(bad), f"{kernel}: P3: {name}: each of {consistent} consistent generations is a cut", bad)
            tap.ok(int(consistent) >= ENOUGH // 2, f"{kernel}: there are some", gens)
            tap.diag(f"{name}: {gens} generations, {fuzzy} fuzzy ({100 * int(fuzzy) // int(gens)} %), "
                     f"of which {fuzzy_bad} are none")
        vm.verdicts(tap, machines, f"{kernel} ")


def test(tap):
    for kernel in sys.argv[1:] or vm.KERNELS:
        one(tap, kernel)


vm.main(test)
