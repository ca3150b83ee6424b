# SPDX-License-Identifier: GPL-2.0-or-later
"""A Holdfast cluster in test machines: the disk, the key, the daemons.

    import cluster, vm
    with vm.Cluster("6.12", nodes=2) as machines:
        hf = cluster.Holdfast(machines, lease="1s", track={"source": "kernel"})
        hf.setup()                       # boots, init, key, join, daemons
        a, b = hf.members
        a.register("app", "/etc/app")    # below a.root, which is /node
        a.hf("online app")               # Failed unless it exits 0
        status, output = b.exec("online app")
        a.sync("app"); a.state("app"); a.resource("app")["epoch"]
        a.crash()                        # SIGKILL of the daemon
        a.up(seam="commit.append:2:power")
        a.said("resumed")                # of what the daemon printed, ever
        a.machine.power_cut(); a.boot()  # boots, modprobe, daemon
        hf.stop()                        # all daemons, for the verdict

A Member is one node of the cluster: a machine with a configuration, a daemon and
the command. Several may be on one machine: Holdfast.add(machine, name) gives one
with a root and directories of its own. What its daemon prints comes to this side
as it is printed, and so survives a power cut.
"""

import json
import os
import random
import re
import shlex
import time

import vm

DISK = "/dev/disk/by-id/virtio-hfquorum"
ROOT = "/node"
ANSWER_TIMEOUT = 90
STEP_TIMEOUT = 60


class Member:
    """One node of the cluster."""

    def __init__(self, cluster, machine, name, base=None):
        self.cluster, self.machine, self.name = cluster, machine, name
        # the usual places, or all of them below one directory
        self.root = f"{base}/root" if base else ROOT
        self.state_dir = f"{base}/state" if base else "/var/lib/holdfast"
        self.runtime_dir = f"/run/holdfast-{name}" if base else "/run/holdfast"
        self.etc = f"{base}/etc" if base else "/etc/holdfast"
        self.conf = f"{self.etc}/holdfast.conf"
        self.job = None
        self.earlier = ""

    # what an administrator types

    def command(self, line):
        conf = "" if self.etc == "/etc/holdfast" else f"-c {self.conf} "
        return f"holdfast {conf}{line}"

    def exec(self, line, timeout=STEP_TIMEOUT):
        """holdfast LINE there; (status, output)."""
        return self.machine.exec(self.command(line), timeout)

    def hf(self, line, want=0, timeout=STEP_TIMEOUT):
        """holdfast LINE, which has to exit with want; what it printed."""
        status, output = self.exec(line, timeout)
        if status != want:
            raise vm.Failed(f"{self.name}: exit {status}, not {want}: holdfast {line}\n{output}"
                            f"{self.log()[-2000:]}")
        return output

    def json(self, line, timeout=STEP_TIMEOUT):
        return json.loads(self.hf(f"--json {line}", timeout=timeout))

    def run(self, line, timeout=STEP_TIMEOUT):
        """A shell command on the machine, in the node's root."""
        return self.machine.run(f"cd {shlex.quote(self.root)} && {line}", timeout)

    def path(self, path):
        """Where a path of a checkpoint lies on the machine."""
        return self.root + path

    def listing(self, path):
        """Every name of a tree: type, mode, owner, size, target of a link, hash."""
        out = self.run(f"cd .{path} && find . -type d -printf '%y %m %U:%G %p\\n' "
                       "-o -printf '%y %m %U:%G %s %l %p\\n' && "
                       "find . -type f -exec sha256sum {} +")
        return sorted(out.splitlines())

    def configure(self):
        lines = ["[node]", f"name = {self.name}", f"root = {self.root}",
                 f"state_dir = {self.state_dir}", f"runtime_dir = {self.runtime_dir}",
                 f"key_file = {self.etc}/key", f"hooks_dir = {self.etc}/hooks.d",
                 "[store]", f"url = disk:{self.cluster.disk}", "[track]"]
        lines += [f"{k} = {v}" for k, v in self.cluster.track.items()]
        dirs = " ".join((self.root, self.etc, self.state_dir))
        self.machine.run(f"mkdir -p {dirs} && chmod 700 {self.etc} {self.state_dir}")
        self.machine.put(self.conf, "\n".join(lines) + "\n")

    # the daemon

    def up(self, seam=None, wait=True):
        """Start the daemon; wait until it answers, or is gone with its machine."""
        if self.running:
            raise vm.VmError(f"{self.name}: its daemon runs already")
        env = f"HOLDFAST_SEAM={shlex.quote(seam)} " if seam else ""
        self.earlier = self.log()
        self.job = self.machine.spawn(f"mkdir -p {self.runtime_dir} && "
                                      f"{env}exec holdfastd -c {self.conf} 2>&1")
        if wait:
            self.wait_up()

    def wait_up(self, timeout=ANSWER_TIMEOUT):
        self.until(lambda: self.exec("node list")[0] == 0, "its daemon answers", timeout, 0.1)

    @property
    def running(self):
        return self.job is not None and not self.job.done

    def crash(self):
        """SIGKILL, as by the OOM killer."""
        if self.running:
            self.job.kill()
            self.job.wait()

    def wait_end(self, timeout):
        """Whether the daemon ends by itself, or at a seam, in this time."""
        return self.job.ended.wait(timeout)

    def down(self):
        """In order: what is online stays so, and is resumed by the next start."""
        if self.running:
            self.job.kill(15)
            self.job.wait(STEP_TIMEOUT)

    def boot(self, seam=None, daemon=True):
        """Switch the machine on again, as it is after a power cut."""
        if not self.machine.up:
            self.machine.start()
        self.cluster.load_module(self.machine)
        if daemon:
            self.up(seam)

    def log(self):
        """All that its daemons printed so far."""
        if self.job is None:
            return self.earlier
        return self.earlier + bytes(self.job.output).decode("utf-8", "replace")

    def said(self, pattern, since=0):
        return re.search(pattern, self.log()[since:]) is not None

    def wait_said(self, pattern, since=0, timeout=STEP_TIMEOUT):
        self.until(lambda: self.said(pattern, since), f"its daemon says '{pattern}'", timeout, 0.01)

    def until(self, true, what, timeout=STEP_TIMEOUT, pause=0.1):
        """Wait for a state; VmError with the daemon's last words when it does not come."""
        end = time.monotonic() + timeout
        while not true():
            if self.job is not None and self.job.done:
                why = f"exit {self.job.status}" if self.job.status is not None else "power off"
                raise vm.Failed(f"{self.name}: its daemon ended ({why})\n{self.log()[-2000:]}")
            if time.monotonic() > end:
                raise vm.Timeout(f"{self.name}: not in {timeout} s: {what}\n{self.log()[-2000:]}")
            time.sleep(pause)

    # resources

    def register(self, name, *paths, options=""):
        self.hf(f"resource add {name}")
        for p in paths:
            self.hf(f"checkpoint add {name} {shlex.quote(p)} {options}".strip())

    def resource(self, name):
        """What status says of it."""
        return self.json(f"status {name}")["resources"][0]

    def state(self, name):
        return self.resource(name)["state"]

    def wait_state(self, name, state, timeout=STEP_TIMEOUT):
        self.until(lambda: self.state(name) == state, f"{name} is {state}", timeout, 0.2)

    def owner(self, name):
        return self.resource(name).get("owner")

    def sync(self, name, options=""):
        return self.hf(f"sync {name} {options}".strip())


class Holdfast:
    """The cluster: its members, in the order of the machines."""

    def __init__(self, machines, lease="1s", size_nodes=4, track=None, module=None,
                 disk=DISK):
        self.machines, self.lease, self.size_nodes = machines, lease, size_nodes
        self.track = {"source": "auto", "scrub": "0"}
        self.track.update(track or {})
        # whether machines load holdfast.ko at boot
        self.module = "kernel" in self.track.values() if module is None else module
        self.key, self.disk = None, disk
        self.members = [Member(self, m, m.name) for m in machines.nodes]

    def load_module(self, machine):
        if self.module:
            machine.run("modprobe holdfast")

    def setup(self, daemons=True):
        """Boot all machines; the first makes the cluster, the others join."""
        self.machines.start()
        first = self.members[0]
        first.configure()
        first.hf(f"init {self.disk} --name test --nodes {self.size_nodes} --lease {self.lease}")
        self.key = first.machine.get(f"{first.etc}/key")
        for m in self.members[1:]:
            self._join(m)
        for m in self.machines.nodes:
            self.load_module(m)
        if daemons:
            for m in self.members:
                m.up(wait=False)
            for m in self.members:
                m.wait_up()

    def _join(self, member):
        member.configure()
        member.machine.put(f"{member.etc}/key", self.key, "600")
        member.hf(f"join {self.disk}")

    def add(self, machine, name):
        """A further node of the cluster, on a machine that may have others."""
        member = Member(self, machine, name, f"{ROOT}/{name}")
        self._join(member)
        self.members.append(member)
        return member

    def stop(self):
        """Release and end all: nothing is left in the machines, for the verdict."""
        for m in self.members:
            if not m.machine.up:
                continue
            if m.running:
                for r in m.json("status")["resources"]:
                    if r.get("owner") == m.name:
                        m.hf(f"offline {r['name']}")
            m.down()


def seed():
    """SEED=, or a new one; printed, so that a run can be had again."""
    s = int(os.environ.get("SEED") or random.SystemRandom().randrange(1 << 32))
    print(f"# SEED={s}", flush=True)
    return random.Random(s)
