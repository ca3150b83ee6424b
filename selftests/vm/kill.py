#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The daemon is killed while processes change a tree, at random and at the points
where a commit could be half done, and started again.
In the end the store equals the tree (P1, P2), and no scan has helped: a file that
was changed in a way which only a scan finds is still as it was in the store. When
the module has forgotten the tree there is a scan, and it finds that file.

kill.py [KERNEL]...; ROUNDS= kills (12), SEED= as a run before printed it."""

import os
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True

import cluster  # noqa: E402
import initrd  # noqa: E402
import vm  # noqa: E402

ROUNDS = int(os.environ.get("ROUNDS", 12))
WRITER = os.path.join(initrd.BUILD, "selftests/vm/writer")
TREE = "/etc/app"
RESUMED = "app: online-pending -> online"
SEAMS = ["commit.captured", "commit.append", "commit.durable", "confirm.read", "confirm.done"]
# only a scan finds what is written through a name outside the tree
UNSEEN = f"{TREE}/unseen"


def prepare(a):
    a.run(f"mkdir -p .{TREE}/d0 && echo start >.{TREE}/start && "
          f"echo before >.{UNSEEN} && ln .{UNSEEN} outside")
    a.register("app", TREE)
    a.hf("resource set app delete-guard=0")
    a.hf("online app")
    a.sync("app")
    a.run("echo after >outside")


def storm(tap, rng, a, writer):
    """Kill and restart, all the time; leaves a daemon that has resumed."""
    resumed = at_seam = dead = 0
    for n in range(ROUNDS):
        since = len(a.log())
        if n % 2:
            # in the first commit, which takes up what the predecessor left, or a later one
            a.up(f"{SEAMS[n // 2 % len(SEAMS)]}:{rng.randrange(1, 5)}:kill", wait=False)
            at_seam += a.wait_end(30)
        else:
            a.up(wait=False)
            if rng.random() < 0.7:
                a.wait_said(RESUMED, since)
                resumed += 1
            time.sleep(rng.uniform(0.01, 0.3))
        a.crash()
        if rng.random() < 0.2:
            dead += 1
            time.sleep(1)
        if writer.done:
            raise vm.Failed(f"the writer ended: {writer.wait()}")
    since = len(a.log())
    a.up()
    a.wait_said(RESUMED, since)
    tap.diag(f"killed {ROUNDS} times: {at_seam} at a point of a commit, {resumed} at random "
             f"after it had resumed; {dead} times not started again for a second")
    if at_seam < ROUNDS // 4:
        raise vm.Failed("hardly any commit was begun")


def differences(want, got):
    lines = [f"only in the tree: {x}" for x in want if x not in got]
    lines += [f"only in the store: {x}" for x in got if x not in want]
    return "\n".join(lines[:20])


def trees(member):
    """{path: id} of what the module watches for app."""
    return {t["path"]: t["id"] for t in member.json("tree list")["trees"]}


def compare(tap, kernel, a, other):
    """Against what another node makes of the store."""
    tree = a.listing(TREE)
    other.hf("online app --fenced")
    want = [line for line in tree if not line.endswith("./unseen")]
    got = [line for line in other.listing(TREE) if not line.endswith("./unseen")]
    tap.ok(want == got and len(want) > 20,
           f"{kernel}: P1: and what another node restores equals it too", differences(want, got))
    tap.ok(other.run(f"cat .{UNSEEN}") == "before\n",
           f"{kernel}: P2: nobody looked at what no event reported")


def forgotten(tap, kernel, a):
    """The control: a module that was told to forget the tree, and so a scan."""
    a.run(f"rm -f outside && ln .{UNSEEN} outside")
    a.sync("app")
    a.run("echo scanned >outside")
    a.sync("app", "--quick")
    before = a.hf("diff app").split()
    a.crash()
    a.run(f"echo changed >.{TREE}/start")
    for tree in trees(a).values():
        a.hf(f"tree delete {tree} --yes")
    since = len(a.log())
    a.up()
    a.wait_said(RESUMED, since)
    after = a.hf("diff app")
    tap.ok(before[-1:] == [UNSEEN] and after == "",
           f"{kernel}: P2: a tree that the module does not know any more is scanned",
           f"before: {before}, after: {after}")


def one(tap, kernel):
    rng = cluster.seed()
    with vm.Cluster(kernel, files=[(WRITER, "/hf/tests/writer")]) as machines:
        hf = cluster.Holdfast(machines, track={"source": "kernel", "require": "kernel"})
        hf.setup()
        machine, a = machines.nodes[0], hf.members[0]
        prepare(a)
        a.crash()
        writer = machine.spawn(
            f"exec /hf/tests/writer {a.path(TREE)} {rng.randrange(1 << 31)} 4 8000")
        storm(tap, rng, a, writer)
        other = hf.add(machine, "other")
        other.up()
        writer.kill(15)
        tap.diag(writer.wait().output)
        a.sync("app", "--quick")
        changes = a.hf("diff app").splitlines()
        tap.ok(len(changes) == 1 and changes[0].split()[-1] == UNSEEN,
               f"{kernel}: P2: after {ROUNDS} kills the store equals the tree, without a scan",
               "\n".join(changes[:20]))
        a.crash()
        compare(tap, kernel, a, other)
        other.hf("offline app")
        since = len(a.log())
        a.up()
        a.wait_said("never confirmed|nothing to resume", since)
        a.until(lambda: not trees(a), "no tree is left in the module")
        a.hf("online app")
        forgotten(tap, kernel, a)
        hf.stop()
        vm.verdicts(tap, machines, f"{kernel} ")


def test(tap):
    for kernel in sys.argv[1:] or vm.KERNELS:
        one(tap, kernel)


vm.main(test)
