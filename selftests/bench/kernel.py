#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What the module costs, in instructions, against what else there is to watch
directories, on Debian's stock kernels: Documentation/performance.md says how, and
what came out. `make bench-kernel` builds what this needs, and runs it.

    kernel.py [6.1|6.12]...
    GOALS=1   exit 1 where a goal is missed
    ROUNDS=601 operations, DIRS=10000 directories, RUNS=3 registrations"""

import os
import re
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "../vm"))
sys.dont_write_bytecode = True

import vm  # noqa: E402

ROUNDS = int(os.environ.get("ROUNDS") or 601)
DIRS = int(os.environ.get("DIRS") or 10000)
RUNS = int(os.environ.get("RUNS") or 3)
# of these the machine's total is asked for as well, which takes longer
TOTAL_ROUNDS = max(ROUNDS // 4, 1)
WRITES = 100000
BUILT = os.path.join(vm.BUILD, "selftests")

OPS = [("write", "write"), ("names", "in turn"), ("dirty", "clean page"), ("open", "open..close"),
       ("create", "create+rename"), ("unlink", "unlink"), ("mkdir", "mkdir"), ("store", "store")]
DISK = "/dev/disk/by-id/virtio-hfquorum"
FS = "/mnt"
DEEP = "/1/2/3/4/5/6/7/"
UUID = "11111111-2222-4333-8444-555555555555"

OTHER, OWN = "other", "own"
# key, name, mechanism, what is watched, options of bench_kernel
ROWS = [
    ("", "nothing watched", "none", OTHER, ""),
    ("", "another directory of this filesystem is watched:", None, "", ""),
    ("inotify-other", "  inotify", "inotify", OTHER, ""),
    ("other", "  Holdfast", "holdfast", OTHER, ""),
    ("", "another filesystem is:", None, "", ""),
    ("elsewhere", "  Holdfast", "holdfast", "/node/tree", ""),
    ("", "this directory is, and nobody waits for events:", None, "", ""),
    ("fanotify", "  fanotify, filesystem mark", "fanotify", OWN, ""),
    ("inotify", "  inotify", "inotify", OWN, ""),
    ("inotify-more", "  inotify, it happened before", "inotify", OWN, "-f"),
    ("first", "  Holdfast, first change", "holdfast", OWN, ""),
    ("more", "  Holdfast, further changes", "holdfast", OWN, "-f"),
    ("", "this directory is, and a reader is woken:", None, "", ""),
    ("inotify-woken", "  inotify", "inotify", OWN, "-w"),
    ("first-woken", "  Holdfast, first change", "holdfast", OWN, "-w"),
    ("more-woken", "  Holdfast, further changes", "holdfast", OWN, "-w -f"),
    ("control", "nothing watched, once more", "none", OTHER, ""),
]
# the same, until the machine is idle again
TOTALS = [
    ("", "nothing watched", "none", OTHER, "-t"),
    ("", "this directory is, and nobody waits for events:", None, "", ""),
    ("inotify", "  inotify", "inotify", OWN, "-t"),
    ("first", "  Holdfast, first change", "holdfast", OWN, "-t"),
    ("", "this directory is, and a reader is woken:", None, "", ""),
    ("inotify-woken", "  inotify", "inotify", OWN, "-t -w"),
    ("first-woken", "  Holdfast, first change", "holdfast", OWN, "-t -w"),
]


class Bench:
    """One machine, and what was measured in it."""

    def __init__(self, cluster):
        self.cluster = cluster
        self.node = cluster.nodes[0]
        self.loaded = False

    def load(self):
        if not self.loaded:
            self.node.run(f"modprobe holdfast marks_max={2 * DIRS + 8192}")
            self.loaded = True

    def fresh(self):
        """The same new filesystem each time: where its inodes lie costs, too."""
        self.node.run(f"mke2fs -q -F -t ext4 -b 4096 -N {3 * DIRS + 4096} -U {UUID} "
                      f"-E hash_seed={UUID},lazy_itable_init=0,lazy_journal_init=0 {DISK} && "
                      f"mount {DISK} {FS} && mkdir -p {FS}/own{DEEP} {FS}/other{DEEP} && sync")

    def gone(self):
        self.node.run(f"umount {FS}")

    def cell(self, mechanism, watched, options, rounds=ROUNDS):
        if mechanism == "holdfast":
            self.load()
        self.fresh()
        where = {OTHER: f"{FS}/other{DEEP}", OWN: f"{FS}/own{DEEP}"}.get(watched, watched)
        self.node.run(f"mkdir -p {where}")
        out = self.node.run(f"bench_kernel -n {rounds} {options} {mechanism} {where} {FS}/own{DEEP}",
                            timeout=600)
        self.gone()
        return {name: int(n) for name, n in (line.split() for line in out.splitlines())}

    def slab(self):
        """Objects and their size, by cache, without what can be dropped."""
        self.node.run("sync; for i in 1 2 3; do echo 3 >/proc/sys/vm/drop_caches; sleep 1; done")
        caches = (line.split() for line in self.node.run("cat /proc/slabinfo").splitlines()[2:])
        return {c[0]: (int(c[1]), int(c[3])) for c in caches}

    @staticmethod
    def grown(before, after, least=0):
        """Bytes, in caches that have at least so many objects more."""
        more = ((n - before.get(name, (0, 0))[0], size) for name, (n, size) in after.items())
        return sum(n * size for n, size in more if abs(n) >= least)

    def many(self):
        self.fresh()
        self.node.run("echo 1000000 >/proc/sys/fs/inotify/max_user_watches")
        self.node.run(f"cd {FS}/other && seq -w {DIRS} | sed 's|..$|/&|' | xargs mkdir -p",
                      timeout=600)
        self.node.run(f"umount {FS} && mount {DISK} {FS}")

    def memory(self, mechanism):
        """Kernel memory of a watched directory, in bytes: the median of some times. A cache
        that has a few objects more has them for something else."""
        dirs = int(self.node.run(f"find {FS}/other -type d | wc -l"))
        times = []
        for _ in range(RUNS):
            before = self.slab()
            job = self.node.spawn(f"exec bench_register {mechanism} {FS}/other")
            self.wait_for(job, b"established")
            times.append(self.grown(before, self.slab(), dirs // 200) / dirs)
            self.end(job)
        return sorted(times)[RUNS // 2]

    def registration(self, command):
        """Instructions until everything is watched; all that is needed is in the caches."""
        self.node.run(f"find {FS}/other >/dev/null")
        job = self.node.spawn(f"exec bench_register until 'Watches established.' {command}")
        self.wait_for(job, b"\n")
        self.end(job)
        return int(job.output.split()[0])

    def same_name(self):
        """What one write of a file leaves in the dirty set, what 100,000 do (entries, bytes),
        and how much the kernel's memory grew between."""
        said = self.node.run(f"hfnl hold bench {FS}/other </dev/null")
        number = re.search(r"^tree (\d+)", said, re.M)[1]
        write = f"dd if=/dev/zero of={FS}/other/name bs=1 conv=notrunc status=none count="
        self.node.run(write + "1")
        first, before = self.dirty(number), self.slab()
        self.node.run(write + str(WRITES), timeout=600)
        last, after = self.dirty(number), self.slab()
        self.node.run(f"hfnl tree {number} , del")
        return first, last, self.grown(before, after)

    def dirty(self, number):
        entries = self.node.run(f"hfnl tree {number} , dirty").count("entry ")
        size = re.search(r"bytes (\d+)/", self.node.run("hfnl version"))
        return entries, int(size[1])

    def wait_for(self, job, text):
        while text not in job.output:
            if job.done:
                raise vm.VmError(f"{job.line}: ended: {bytes(job.output).decode()}")
            job.ended.wait(0.05)

    def end(self, job):
        job.kill(15)
        if job.wait().status not in (0, 143):
            raise vm.VmError(f"{job.line}: exit {job.wait()}")


class Goals:
    def __init__(self):
        self.missed = 0

    def goal(self, text, good):
        print(f"    {text:<76} {'met' if good else 'MISSED'}")
        self.missed += not good


def row(name, figures):
    print(f"    {name:<32}" + "".join(f"{f:>{max(8, len(title) + 2)}}"
                                      for f, (_, title) in zip(figures, OPS)), flush=True)


def costs(bench, rows, rounds):
    """Prints a table; what was added, by key."""
    base, added = None, {}
    row("", [title for _, title in OPS])
    for key, name, mechanism, watched, options in rows:
        if mechanism is None:
            print(f"    {name}")
            continue
        cell = bench.cell(mechanism, watched, options, rounds)
        if base is None:
            base = cell
            row(name, [cell[op] for op, _ in OPS])
            continue
        added[key] = {op: cell[op] - base[op] for op, _ in OPS}
        row(name, [f"{added[key][op]:+}" for op, _ in OPS])
    return added


def goals_of_costs(g, a):
    mine, its = a["other"], a["inotify-other"]
    for op, title in OPS:
        # what a page costs has a goal of its own, and inotify sees no stores
        if op in ("dirty", "store"):
            continue
        near = abs(mine[op] - its[op]) <= max(5, 0.02 * abs(its[op]))
        g.goal(f"elsewhere on the filesystem, {title}: as inotify there ({mine[op]}, {its[op]})", near)
    worst = max(a[k]["dirty"] - a[k]["write"] for k in ("other", "elsewhere"))
    g.goal(f"a page that becomes dirty: at most 30 more ({worst})", worst <= 30)
    for circumstance, suffix in (("nobody waits", ""), ("a reader is woken", "-woken")):
        its = a["inotify" + suffix]["write"]
        first, more = a["first" + suffix]["write"], a["more" + suffix]["write"]
        g.goal(f"first write, {circumstance}: at most inotify's ({first}, {its})", first <= its)
        g.goal(f"further writes, {circumstance}: at most 0.85 of inotify's ({more / its:.2f})",
               more <= 0.85 * its)


def many_directories(g, bench):
    bench.load()
    bench.many()
    print(f"\n    {DIRS} directories" + f"{'inotify':>34}{'Holdfast':>12}{'ratio':>8}")
    its, mine = bench.memory("inotify"), bench.memory("holdfast")
    print(f"    {'kernel memory of each, its inode included, bytes':<48}{its:>9.0f}{mine:>12.0f}"
          f"{mine / its:>8.2f}", flush=True)
    times = []
    for i in range(RUNS):
        w = bench.registration(f"inotifywait -m -r {FS}/other") / 1e6
        h = bench.registration(f"bench_register holdfast {FS}/other") / 1e6
        times.append((h, w))
        print(f"    {f'inotifywait -r, the library; run {i + 1}, million':<48}{w:>9.0f}{h:>12.0f}"
              f"{h / w:>8.2f}", flush=True)
    first, last, grown = bench.same_name()
    bench.gone()
    print(f"\n    {WRITES} writes of one file: {last[0]} entry, {last[1]} bytes (after one: {first[1]}); "
          f"kernel memory {grown:+} bytes\n")
    return [
        (f"memory of a directory: at most 1.05 of inotify's ({mine / its:.3f})", mine <= 1.05 * its),
        ("registration: faster than inotifywait -r, each run", all(h < w for h, w in times)),
        # an event that was kept would take at least 32 bytes
        ("memory does not grow with the changes of one name", first == last == (1, last[1]) and grown < WRITES),
    ]


def measure(g, version):
    files = [(os.path.join(BUILT, "bench", n), f"/usr/bin/{n}") for n in ("bench_kernel", "bench_register")]
    files.append((os.path.join(BUILT, "kernel/hfnl"), "/usr/bin/hfnl"))
    with vm.Cluster(version, cpus=1, icount=True, disk_mb=192, tools=["inotifywait", "xargs"],
                    files=files) as c:
        c.start()
        bench = Bench(c)
        # its clock jumps while the disk works
        bench.node.run("echo 0 >/proc/sys/kernel/hung_task_timeout_secs")
        print(f"Linux {c.kernel.release}: instructions, median of {ROUNDS}; below the first line what is added\n")
        added = costs(bench, ROWS, ROUNDS)
        print(f"\n    the whole machine until it is idle again, median of {TOTAL_ROUNDS}")
        costs(bench, TOTALS, TOTAL_ROUNDS)
        goals = many_directories(g, bench)
        print("    goals")
        goals_of_costs(g, added)
        for text, good in goals:
            g.goal(text, good)
        verdict = bench.node.verdict()
        g.goal(f"the machine is sound ({verdict})", verdict == "ok")
        print()


def main():
    g = Goals()
    for version in sys.argv[1:] or vm.KERNELS:
        measure(g, version)
    sys.exit(1 if g.missed and os.environ.get("GOALS") == "1" else 0)


try:
    main()
except vm.VmError as e:
    sys.exit(f"kernel.py: {e}")
