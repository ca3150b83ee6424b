#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The module is loaded and unloaded a hundred times under load, and takes
everything that was its own along: objects, memory, inodes.

    load.py [6.1|6.12|debug]...    CYCLES= how often (100)"""

import os
import re
import signal
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
sys.dont_write_bytecode = True

import vm  # noqa: E402

CYCLES = int(os.environ.get("CYCLES") or 100)
VARIANTS = 5
BUILT = os.path.join(vm.BUILD, "selftests")

# The tree lies on a filesystem of its own: what the module forgot to give back of
# it is seen when that is unmounted.
SETUP = r"""
truncate -s 48M /node/fs && mke2fs -q -F -t ext4 /node/fs && mkdir -p /mnt/load &&
mount -o loop /node/fs /mnt/load && mkdir /mnt/load/tree /mnt/load/out
"""

# What lies in the tree leaves it, with all that is in it, and comes back.
MOVER = r"""#!/bin/sh
cd /mnt/load || exit 1
while :; do
	for d in d0 d1 d2 d3; do
		mv -T tree/$d out/moved && mv -T out/moved tree/$d
		# it was made again meanwhile
		rm -rf out/moved
	done
	sleep 0.1
done 2>/dev/null
"""

# How it ends is different each time: the tree is deleted by its consumer; by
# another one, the consumer having ended; or having been killed while it marked;
# while somebody listens; its root was deleted.
CYCLE = r"""#!/bin/sh
T=/mnt/load/tree
bad() { echo "bad cycle $i: $*"; sed 's/^/  /' "$out"; exit 1; }
out=$(mktemp) && mkfifo "$out.id" || exit 1
i=$1
while [ $i -lt $2 ]; do
	listener=
	: >"$out"
	modprobe holdfast || bad "it cannot be loaded"
	case $((i % VARIANTS)) in
	0)
		{ sleep 0.1; printf '%s\n' 'exclude 1' dirty ack-all dirty del; } |
			hfnl hold load $T >"$out" || bad "hfnl $?" ;;
	1)
		hfnl resource load , add $T , walk >"$out" || bad "hfnl $?"
		sleep 0.1
		! rmmod holdfast 2>/dev/null || bad "unloaded with a tree"
		hfnl resource load , add $T , dirty , ack-all , del >>"$out" || bad "hfnl $?"
		grep -q resumed "$out" || bad "it was not taken over" ;;
	2)
		hfnl hold load $T </dev/null >"$out.id" &
		read -r _ id _ <"$out.id"
		kill -KILL $! 2>/dev/null
		wait $! 2>/dev/null
		hfnl tree "$id" , dirty , del >"$out" || bad "hfnl $?" ;;
	3)
		hfnl events >/dev/null &
		listener=$!
		{ sleep 0.1; printf '%s\n' dirty ack-all; echo "add /mnt/load"; echo walk; echo dirty
			echo del; echo "tree 1"; echo del; } | hfnl hold load $T >"$out" || bad "hfnl $?" ;;
	4)
		mkdir -p /mnt/load/out/root/a
		hfnl resource load , add /mnt/load/out/root , walk , add $T , walk >"$out" || bad "hfnl $?"
		rm -r /mnt/load/out/root
		hfnl tree 1 , barrier , del , tree 2 , dirty , del >>"$out" || bad "hfnl $?"
		grep -q lost "$out" || bad "its root is gone, and it is not lost" ;;
	esac
	! grep -q ^failed "$out" || bad "the module refused"
	grep -q ^total "$out" || bad "nothing was dumped"
	rmmod holdfast || bad "it cannot be unloaded"
	if [ -n "$listener" ]; then
		kill $listener
		wait $listener 2>/dev/null
	fi
	i=$((i + 1))
done
rm -f "$out" "$out.id"
""".replace("VARIANTS", str(VARIANTS))


def ledgers(node):
    """For each unloading what was created and destroyed of tree, dir and entry."""
    said = node.run("dmesg | sed -n 's/.*holdfast: ledger: //p'")
    lines = []
    for line in said.splitlines():
        m = re.fullmatch(r"tree (\d+)/(\d+) dir (\d+)/(\d+) entry (\d+)/(\d+)", line)
        if not m:
            raise vm.VmError(f"a ledger that is none: {line}")
        lines.append([int(n) for n in m.groups()])
    return lines


def memory(node, jobs):
    """{slab cache: (objects, objects in a slab)}, while the load is stopped."""
    for job in jobs:
        job.kill(signal.SIGSTOP)
    text = node.run("echo 2 >/proc/sys/vm/drop_caches; sleep 0.5; "
                    "grep -e '^kmalloc-[0-9c]' -e ^fsnotify -e '^pid ' /proc/slabinfo")
    for job in jobs:
        job.kill(signal.SIGCONT)
    return {w[0]: (int(w[1]), int(w[4])) for w in map(str.split, text.splitlines())}


def cycles(node, first, end):
    if first == end:
        return
    status, output = node.exec(f"/node/cycle {first} {end}", timeout=6 * (end - first) + 60)
    if status:
        raise vm.VmError(output)


def load(tap, version):
    files = [(os.path.join(BUILT, "kernel/hfnl"), "/usr/bin/hfnl"),
             (os.path.join(BUILT, "vm/writer"), "/usr/bin/writer")]
    # Code is patched 200 times under who writes: with a thread for each processor
    # qemu may run into a breakpoint that is no more (Oops: int3, of any kernel).
    with vm.Cluster(version, files=files, accel="tcg,thread=single") as c:
        c.start()
        node = c.nodes[0]
        node.run(SETUP)
        node.put("/node/mover", MOVER, "755")
        node.put("/node/cycle", CYCLE, "755")
        jobs = [node.spawn("exec writer /mnt/load/tree 1 2 8000"),
                node.spawn("exec writer /mnt/load/out 2 1 8000"), node.spawn("exec /node/mover")]
        # the first times fill what the kernel keeps
        warm = CYCLES // 5
        try:
            cycles(node, 0, warm)
            before = memory(node, jobs)
            cycles(node, warm, CYCLES)
            after = memory(node, jobs)
            tap.ok(True, f"{version}: loaded, used and unloaded {CYCLES} times under load")
        except vm.VmError as e:
            tap.ok(False, f"{version}: loaded, used and unloaded {CYCLES} times under load", e)
            return
        tap.ok(not any(job.done for job in jobs), f"{version}: the load lasted",
               [job.output for job in jobs])
        for job in jobs:
            job.kill(signal.SIGTERM)
            job.wait()

        ledger = ledgers(node)
        for at, what in enumerate(("trees", "directories", "entries")):
            tap.diag(f"{version}: {sum(n[2 * at] for n in ledger)} {what}")
        tap.ok(len(ledger) == CYCLES, f"{version}: each time it left a ledger", len(ledger))
        tap.ok(all(n[::2] == n[1::2] for n in ledger), f"{version}: each ledger balances", ledger)
        tap.ok(all(n[0] and n[2] for n in ledger) and sum(n[4] for n in ledger) > CYCLES,
               f"{version}: trees, directories and entries were in them", ledger)
        grown = {k: n - before[k][0] for k, (n, slab) in after.items()
                 if n - before[k][0] > 3 * slab + CYCLES - warm}
        point = f"{version}: the kernel's small memory did not grow"
        if version == "debug":
            tap.skip(point, "KASAN keeps what was freed for a while; kmemleak looks there")
        else:
            tap.ok(not grown, point, grown)
        node.run("umount /mnt/load")
        busy = node.run("dmesg | grep -i 'busy inodes\\|still in use' || true")
        tap.ok(not busy, f"{version}: no inode is held any more", busy)
        vm.verdicts(tap, c, f"{version}: ")


def test(tap):
    for version in sys.argv[1:] or vm.KERNELS:
        load(tap, version)


vm.main(test)
