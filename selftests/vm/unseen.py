#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""X11: with the module, what no event reports is found: by the scrub, by sync, by offline. Writes by
libaio, through a hard link from outside, by way of an overlayfs whose upper layer lies in the tree
(on 6.1), and what was behind chattr +i.

    unseen.py [6.1|6.12]..."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True

import cluster  # noqa: E402
import initrd  # noqa: E402
import vm  # noqa: E402

AIO = os.path.join(initrd.BUILD, "selftests/vm/aio")
TREE = "/srv/t"
# each keeps the size; what is under the overlay is written through it
WAYS = [
    ("libaio", "exec aio {r}{t}/aio {n}"),
    ("a hard link from outside", "printf {n} | dd of={r}/outside/link conv=notrunc 2>/dev/null"),
    ("an overlayfs above it", "printf {n} | dd of={r}/merged/g conv=notrunc 2>/dev/null"),
]


def quiet(a):
    """What events report is there, and acknowledged: what comes now came without any."""
    a.sync("t")
    a.until(lambda: not a.resource("t").get("dirty"), "nothing is dirty")
    return a.resource("t")["generation"]


def equal(a):
    return not a.json("diff t")["changes"]


def write(a, command, n):
    """The job that wrote it; who writes by libaio is still there."""
    job = a.machine.spawn(command.format(r=a.root, t=TREE, n=n))
    a.until(lambda: job.done or b"written" in job.output, command)
    return job


def closed(job):
    job.kill()
    job.wait()


def one(tap, kernel):
    with vm.Cluster(kernel, tools=["chattr", "lsattr"], files=[(AIO, "/usr/bin/aio")]) as machines:
        hf = cluster.Holdfast(machines, track={"source": "kernel", "require": "kernel", "scrub": "0"})
        hf.setup()
        a = hf.members[0]
        other = hf.add(machines.nodes[0], "other")
        other.up()
        a.run(f"mkdir -p .{TREE}/u lower work outside merged && echo 0 >lower/g && for f in aio link u/g flags; "
              f"do echo 00 >.{TREE}/$f; done && ln .{TREE}/link outside/link")
        # its work directory lies beside its upper one, so outside of what is registered
        a.run(f"mv .{TREE} srv/all && mkdir .{TREE} && mv srv/all/* .{TREE} && rmdir srv/all")
        a.run(f"mount -t overlay -o lowerdir=lower,upperdir=.{TREE}/u,workdir=work overlay merged")
        a.register("t", TREE)
        a.hf("online t")
        for name, command in WAYS:
            gen = quiet(a)
            job = write(a, command, 11)
            a.run("sync")
            if "overlayfs" not in name or kernel == "6.1":
                a.sync("t", "--quick")
                tap.ok(a.resource("t")["generation"] == gen, f"{kernel}: {name}: no event reports it")
            a.sync("t")
            tap.ok(equal(a) and a.resource("t")["generation"] > gen, f"{kernel}: {name}: sync finds it")
            closed(job)
        a.run(f"cd .{TREE} && chattr +i flags && chattr -i flags && chattr +d flags")
        a.sync("t")
        tap.ok(equal(a), f"{kernel}: chattr: sync is content")
        quiet(a)
        jobs = [write(a, command, 22) for _, command in WAYS]
        a.hf("offline t")
        for job in jobs:
            closed(job)
        want = a.listing(TREE)
        other.hf("online t")
        tap.ok(other.listing(TREE) == want, f"{kernel}: offline finds all of it",
               "\n".join(set(want) ^ set(other.listing(TREE))))
        other.hf("offline t")
        a.hf("online t")
        a.run(f"ln -f .{TREE}/link outside/link")
        quiet(a)
        a.down()
        a.machine.put(a.conf, a.machine.get(a.conf).replace(b"scrub = 0", b"scrub = 1s"))
        a.up()
        a.wait_state("t", "online")
        for name, command in WAYS:
            gen = quiet(a)
            job = write(a, command, 33)
            a.until(lambda: a.resource("t")["generation"] > gen and equal(a), f"{name}: the scrub finds it", 30)
            tap.ok(True, f"{kernel}: X11: {name}: the scrub finds it, nobody having asked")
            closed(job)
        a.run("umount merged")
        hf.stop()
        vm.verdicts(tap, machines, f"{kernel} ")


def test(tap):
    for kernel in sys.argv[1:] or vm.KERNELS:
        one(tap, kernel)


vm.main(test)
