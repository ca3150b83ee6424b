#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A real Pacemaker on two machines with Debian's kernel and holdfast.ko: PostgreSQL, whose data are on a
disk that moves with it and whose configuration is a checkpoint, survives the power cut of its node, and
then one that hangs, whose power the other one cuts. What each node's processes had in memory only is lost
with it, unlike in the tests with namespaces. (P1, P4, P5)

    machines.t [6.1|6.12]... (6.12)    KEEP=1 keeps the disks and consoles

The root file system is that of the namespaces, read-only below an overlay on the machine's own disk. The
power controller is this side: it reads what fence_bmc asks for over the machine's command port, which the
network has no part in, and ends the qemu of who is named."""

import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import xml.etree.ElementTree as ElementTree

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "../vm"))
sys.dont_write_bytecode = True

import vm  # noqa: E402

ROOT = "/node/mnt"
ADDRESS = "10.77.0.50"
TREE = "/etc/postgresql"
INSIDE = f"exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C LEASE=3s PGCONNECT_TIMEOUT=20 chroot {ROOT} "
GROUP = {"pg-data", "pg-conf", "pg-ip", "pg-db"}
# what Pacemaker does takes a minute at most, on a machine that has nothing else to do
PATIENCE = 300

BOOT = f"""set -e
mkdir -p /lo /inst
mount -t ext4 -o ro /dev/disk/by-id/virtio-hfroot /lo
mount -t ext4 -o ro /dev/disk/by-id/virtio-hfinst /inst
mount -t overlay -o lowerdir=/inst:/lo,upperdir=/node/up,workdir=/node/work overlay {ROOT}
cd {ROOT}
for d in proc sys dev; do mount -o rbind /$d $d; done
mkdir -p bmc shared
# what was asked of the power controller in an earlier life is void
for d in run tmp bmc; do mount -t tmpfs -o mode=755 tmpfs $d; done
chmod 1777 tmp
mount -o bind /node/postgresql .{TREE}
ln -s disk/by-id/virtio-hfquorum /dev/qdisk
ln -s disk/by-id/virtio-hfdata /dev/data
modprobe holdfast
"""

ASKED = f"""cd {ROOT}/bmc && while :; do
	for q in *.req; do
		[ -e "$q" ] || continue
		read -r action node <"$q" && rm "$q" && echo "${{q%.req}} $action $node"
	done
	sleep 0.2
done"""

began = 0


def note(tap, text):
    tap.diag(f"{time.monotonic() - began:.1f} s: {text}")


def inside(node, *words, timeout=60):
    """A command in the node's root file system; (status, output)."""
    return node.exec(INSIDE + shlex.join(words), timeout)


def must(node, *words, timeout=60):
    status, output = inside(node, *words, timeout=timeout)
    if status:
        raise vm.Failed(f"{node.name}: exit {status}: {' '.join(words)}\n{output}")
    return output


def until(what, true):
    end = time.monotonic() + PATIENCE
    while not true():
        if time.monotonic() > end:
            raise vm.Timeout(f"not in {PATIENCE} s: {what}")
        time.sleep(0.5)


class Power:
    """Who asked for whose power to be cut, and whether there was some to cut."""

    def __init__(self, nodes):
        self.nodes = {n.name: n for n in nodes}
        self.lock = threading.Lock()
        self.log = []
        self.jobs = {}

    def serve(self, node):
        self.jobs[node.name] = job = node.spawn(ASKED)
        threading.Thread(target=self._serve, args=(node, job), daemon=True).start()

    def _serve(self, node, job):
        done = 0
        while not job.done:
            asked = bytes(job.output).decode().split("\n")[:-1]
            for line in asked[done:]:
                request, action, name = line.split()
                with self.lock:
                    if not node.up:
                        return
                    if action == "off" and name in self.nodes:
                        self.log.append((node.name, name, self.nodes[name].up))
                        self.nodes[name].power_cut()
                try:
                    node.exec(f": >{ROOT}/bmc/{request}.done")
                except vm.VmError:
                    return
            done = len(asked)
            time.sleep(0.1)


class Pair:
    """The two machines, as nodes of one cluster."""

    def __init__(self, machines, power):
        self.machines, self.power, self.init = machines, power, {}

    def boot(self, node):
        """Up to its init, which starts the rest; the machine is on."""
        node.run(BOOT)
        self.power.serve(node)
        if node.name == "n2" and node.name not in self.init:
            # the key is copied, as an administrator would
            n1 = self.machines.nodes[0]
            until("n1 made the cluster", lambda: not n1.exec(f"test -e {ROOT}/shared/key").status)
            node.put(f"{ROOT}/shared/key", n1.get(f"{ROOT}/shared/key"), "600")
        self.init[node.name] = node.spawn(f"{INSIDE} /bin/bash /node-init {node.name}")

    def join(self, node, others):
        until(f"{node.name}: holdfastd answers", lambda: not inside(node, "holdfast", "status").status)
        names = {node.name} | {o.name for o in others}
        until(f"{node.name} is in the cluster", lambda: all(online(n) == names for n in [node] + others))

    def serves(self, node):
        until(f"PostgreSQL runs on {node.name}", lambda: started(node) == GROUP)

    def tell(self):
        """What the machines that are on say of themselves, when something went wrong."""
        for n in self.machines.nodes:
            if not n.up:
                continue
            if n.name in self.init:
                print_tail(n.name, "init", bytes(self.init[n.name].output).decode("utf-8", "replace"))
            for what, line in (
                    ("holdfastd", f"tail -n 15 {ROOT}/var/log/holdfastd.log"),
                    ("corosync", f"tail -n 10 {ROOT}/var/log/corosync.log"),
                    ("pacemaker", f"grep -E 'error|warning|ocf-exit-reason|tree\\(' {ROOT}/var/log/pacemaker.log | tail -n 25"),
                    ("crm_mon", f"{INSIDE} crm_mon -1 -r -f")):
                try:
                    print_tail(n.name, what, n.exec(line, 30).output)
                except vm.VmError:
                    pass


def print_tail(name, what, text):
    for line in text.splitlines()[-30:]:
        print(f"# {name} {what}: {line[:300]}", flush=True)


def crm_mon(node):
    status, output = node.exec(f"{INSIDE} crm_mon -1 --output-as=xml 2>/dev/null", 60)
    return ElementTree.fromstring(output) if not status else ElementTree.Element("none")


def online(node):
    """Who is in the cluster, as it sees it."""
    return {n.get("name") for n in crm_mon(node).findall("nodes/node")
            if n.get("online") == "true" and n.get("pending") == "false"}


def started(node):
    """Which resources run on it, as it sees it."""
    return {r.get("id") for r in crm_mon(node).findall("resources/group/resource")
            if r.get("role") == "Started" and r.get("failed") == "false" and
            [n.get("name") for n in r.findall("node")] == [node.name]}


def admin(node, sql):
    return must(node, "runuser", "-u", "postgres", "--", "psql", "-X", "-At", "-d", "postgres", "-c", sql)


def guest(node, sql):
    """As somebody who may come by the network, or not; (status, output)."""
    return inside(node, "psql", "-X", "-At", "-h", ADDRESS, "-U", "report", "-d", "postgres", "-c", sql)


def told(tap, node, sql, want, what):
    got = guest(node, sql).output.strip()
    tap.ok(got == want, what, f"got '{got}', want '{want}'")


def listing(node):
    """All of the tree: type, mode, owner, time, size, target of a link, hash."""
    out = node.run(f"cd {ROOT}{TREE} && find . -printf '%p %y %m %U:%G %T@ %l\\n' && "
                   "find . -type f -exec sha256sum {} +")
    return sorted(out.splitlines())


def by_the_module(tap, node):
    """Who tracks, as the daemon says, and as the module does."""
    said = json.loads(must(node, "holdfast", "--json", "status", "pg"))
    r = said["resources"][0]
    tap.ok((said["source"], r["state"], r["owner"]) == ("kernel", "online", node.name),
           f"{node.name}: pg is online there, its source is the kernel", said)
    trees = must(node, "holdfast", "tree", "list")
    tap.ok(TREE in trees, f"{node.name}: the module has its tree", trees)


def power_cut(tap, pair, n1, n2):
    """n1 loses its power right after a sync, and n2 serves with what it had confirmed."""
    admin(n1, "create table t (x int); create role report login; grant select on t to report; "
              "insert into t select generate_series(1, 1000); checkpoint")
    r = guest(n2, "show work_mem")
    tap.ok(r.status and "no pg_hba.conf entry" in r.output, "the role may not come by the network", r.output)
    must(n1, "pg_conftool", "15", "main", "set", "work_mem", "7MB")
    must(n1, "sh", "-c", f"echo 'host postgres report 10.77.0.0/24 trust' >>{TREE}/15/main/pg_hba.conf")
    had = listing(n1)
    must(n1, "holdfast", "sync", "pg")
    n1.power_cut()
    note(tap, "n1 lost its power, after sync had returned 0")
    cut = time.monotonic()
    until("n2 fences n1", lambda: pair.power.log)
    pair.serves(n2)
    tap.diag(f"{time.monotonic() - cut:.1f} s from power cut to service")
    tap.ok(pair.power.log == [("n2", "n1", False)], "n2 has n1's power cut, which was off", pair.power.log)
    told(tap, n2, "show work_mem", "7MB", "P1, P5: n2 serves with what pg_conftool had set on n1")
    told(tap, n2, "select count(*) from t", "1000", "P1: pg_hba.conf lets the role in, and the data are there")
    has = listing(n2)
    tap.ok(has == had, "P1: n2 has all of n1's tree", sorted(set(has) ^ set(had)))
    by_the_module(tap, n2)


def hang(tap, pair, n1, n2):
    """n1 is back; n2 hangs, n1 has its power cut and serves with what was set on n2."""
    n1.start()
    pair.boot(n1)
    pair.join(n1, [n2])
    note(tap, "n1 is back in the cluster")
    pair.serves(n2)
    tap.ok(not started(n1), "PostgreSQL stays on n2", started(n1))
    r = inside(n1, "holdfast", "sync", "pg")
    tap.ok(r.status in (5, 6), "P4: sync on n1 is refused (5) or stale (6)", r)
    must(n2, "pg_conftool", "15", "main", "set", "maintenance_work_mem", "77MB")
    had = listing(n2)
    must(n2, "holdfast", "sync", "pg")
    n2.freeze()
    note(tap, "n2 hangs, after sync had returned 0")
    hung = time.monotonic()
    until("n1 fences n2", lambda: pair.power.log[1:])
    pair.serves(n1)
    tap.diag(f"{time.monotonic() - hung:.1f} s from hanging to service")
    tap.ok(pair.power.log[1:] == [("n1", "n2", True)] and not n2.up, "n1 has n2's power cut, which was on", pair.power.log)
    told(tap, n1, "show maintenance_work_mem", "77MB", "P1, P5: n1 serves with what was set on n2")
    told(tap, n1, "show work_mem", "7MB", "P1: and before on itself")
    has = listing(n1)
    tap.ok(has == had, "P1: n1 has all of n2's tree", sorted(set(has) ^ set(had)))
    by_the_module(tap, n1)


def stop(tap, pair, node):
    """In order: nothing is left in the machine, for its verdict."""
    failcounts = must(node, "crm_mon", "-1", "--failcounts")
    tap.ok("fail-count=" not in failcounts, f"{node.name}: Pacemaker counted no failure", failcounts)
    must(node, "killall", "pacemakerd")
    until("Pacemaker has stopped", lambda: inside(node, "pidof", "pacemakerd").status)
    state = json.loads(must(node, "holdfast", "--json", "status", "pg"))["resources"][0]["state"]
    tap.ok(state == "offline", "Pacemaker, stopped, has taken pg offline", state)
    pair.init[node.name].kill(15)
    until("the daemons have ended", lambda: inside(node, "pidof", "holdfastd", "corosync").status)
    pair.power.jobs[node.name].kill()


def prepare(work):
    """Disks: ({root file system, what is installed over it}, the data); what the nodes' own have lies below work."""
    def run(*words):
        r = subprocess.run(words, stdout=subprocess.PIPE, text=True, cwd=vm.REPO, env={**os.environ, "HF_BUILD": vm.BUILD})
        if r.returncode:
            raise vm.VmError(f"exit {r.returncode}: {' '.join(words)}\n{r.stdout}")
        return r.stdout.strip()
    inst, data = f"{work}/inst.img", f"{work}/data.img"
    root, image = run("selftests/cluster/rootfs.sh"), run("selftests/cluster/rootfs.sh", "image")
    installed = os.environ.get("HF_INST") or f"{work}/inst"
    if not os.environ.get("HF_INST"):
        run("make", "-s", "DEPS=0", f"B={os.path.relpath(vm.BUILD, vm.REPO)}", f"DESTDIR={installed}", "PREFIX=/usr", "install")
    run("mke2fs", "-q", "-t", "ext4", "-d", installed, inst, "64M")
    run("mke2fs", "-q", "-t", "ext4", "-d", f"{root}/var/lib/postgresql", data, "256M")
    run("selftests/cluster/machines.sh", work, root)
    return {"hfroot": image, "hfinst": inst}, data


def one(tap, kernel, work, images, data):
    global began
    began = time.monotonic()
    with vm.Cluster(kernel, nodes=2, cpus=1, memory=768, images=images, disks={"hfdata": data}) as machines:
        n1, n2 = machines.nodes
        pair = Pair(machines, Power(machines.nodes))
        machines.start()
        note(tap, "both machines are on")
        for n in n1, n2:
            own = subprocess.run(["tar", "-C", f"{work}/{n.name}", "--numeric-owner", "-c", "."],
                                 stdout=subprocess.PIPE, check=True).stdout
            n.run("tar -xp -f - -C /node", stdin=own)
        try:
            for n in n1, n2:
                pair.boot(n)
            pair.join(n1, [n2])
            pair.join(n2, [n1])
            tap.ok(True, f"two machines with {machines.kernel.release} are in the cluster")
            note(tap, "formed")
            must(n1, "holdfast", "resource", "add", "pg")
            must(n1, "holdfast", "checkpoint", "add", "pg", TREE)
            must(n2, "crm_resource", "--resource", "pg", "--meta", "--set-parameter", "target-role",
                 "--parameter-value", "Started")
            pair.serves(n1)
            note(tap, "PostgreSQL runs on n1")
            by_the_module(tap, n1)
            power_cut(tap, pair, n1, n2)
            hang(tap, pair, n1, n2)
            stop(tap, pair, n1)
        except vm.VmError:
            pair.tell()
            raise
        verdict = n1.verdict()
        tap.ok(verdict == "ok", f"{kernel}: n1: verdict", verdict)
        note(tap, "done")


def test(tap):
    with tempfile.TemporaryDirectory(prefix="hfvm.") as work:
        images, data = prepare(work)
        for kernel in sys.argv[1:] or [vm.KERNELS[-1]]:
            mine = f"{work}/{kernel}.data"
            shutil.copyfile(data, mine)
            one(tap, kernel, work, images, mine)


why = "HF_NO_CLUSTER is set" if os.environ.get("HF_NO_CLUSTER") else "needs root" if os.geteuid() else ""
if why:
    print(f"1..0 # SKIP {why}")
    sys.exit(0)
vm.main(test)
