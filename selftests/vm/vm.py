# SPDX-License-Identifier: GPL-2.0-or-later
"""Test machines: qemu (emulated) with a stock Debian kernel, for tests that need
the module, or that cut a machine's power.

    import vm
    with vm.Cluster("6.1", nodes=2) as c:      # "6.1", "6.12" or "debug"
        c.start()                              # all nodes; returns when they serve
        a, b = c.nodes
        status, output = a.exec("dmesg | tail -1")         # merged stdout, stderr
        output = a.run("modprobe holdfast")                # Failed unless status is 0
        job = a.spawn("while :; do date >>/node/log; done")
        a.put("/node/x", b"bytes"); data = a.get("/node/x")
        b.freeze(); b.thaw()                   # the processors stop; its clock too
        a.link(False); a.link(True)            # the cable; c.cut(a, b), c.mend(a, b)
        a.power_cut()                          # at this moment; both disks stay
        a.start()                              # once more, on the same disks
        a.shutdown()                           # clean
        c.verdict()                            # {node number: "ok" | "fail …"}

    def test(tap):                             # a whole test, selftests/vm/NAME.t
        with vm.Cluster("6.12") as c:
            c.start()
            tap.ok(c.nodes[0].run("uname -r").startswith("6.12"), "P1: …")
            vm.verdicts(tap, c)                # one point for each machine, last
    vm.main(test)

Cluster(kernel, nodes=1, disk_mb=64, own_mb=256, memory=None, cpus=2, tools=[],
modules=[], files=[(source, destination)], append="", icount=False, accel="tcg", images={},
disks={}): tools are programs of this machine to take along, modules those of the kernel that
may be loaded, append goes to the kernel's command line, icount makes its clock count
instructions (cpus=1), accel is qemu's -accel. images and disks are files by serial numbers, which
all machines have as further disks, to read only and to write.
holdfast, holdfastd and holdfast.ko
($HF_BUILD/kernel/RELEASE/) are taken along when they were built. c.dir is a
temporary directory (kept with KEEP=1); c.nodes[i].console is a file.

exec, run and Job.wait take timeout= (seconds, 120; Timeout is raised, and the
command killed), exec, run and spawn stdin= (bytes). A Job has output (bytes so
far), done, wait() -> Result(status, output), kill(signal=9). Several commands may
run at a time. One has ended when its process has: what goes on in the background
has to redirect its output. When the machine goes away, waiting raises NodeDown:
PowerOff if this side did it, else Died, with the end of its console.
Node.wait_off(timeout) is for a machine that is to go down by itself, as by
`echo b >/proc/sysrq-trigger`, which is a power cut at a point that the machine
chooses. Call start() from the main thread: qemu is tied to its life.

In the machine: the shared disk is /dev/disk/by-id/virtio-hfquorum, the own one
(ext4) is mounted on /node, where /etc/holdfast and /var/lib/holdfast are too; /run
and /tmp are lost with the power. Names n1, n2…, addresses 10.77.0.1, 10.77.0.2…;
TMPDIR=/node/tmp, HF_NODE=1…, HF_KERNEL=release, HF_VM=1, HF_BUILD=/hf/build (holdfast
and holdfastd). Users root, user (1000), nobody. `modprobe holdfast` works.

The verdict is asked for last: it fails on taint, on warnings of the kernel, on a
holdfast.ko that cannot be unloaded or whose ledger does not balance, on slab caches
and processes that are left: stop what you started, delete what trees you registered.
"""

import atexit
import collections
import os
import shutil
import signal
import subprocess
import sys
import tempfile

import initrd
from initrd import VmError
from node import (Died, Failed, Job, Node, NodeDown, PowerOff,  # noqa: F401
                  Result, Timeout)
from qmp import Hub
from tap import Tap

REPO = initrd.REPO
BUILD = initrd.BUILD
KERNELS = ("6.1", "6.12")
# finds bugs (scripts/debug-kernel.sh): slow, large, and never among all kernels
DEBUG = "debug"


class Kernel(collections.namedtuple("Kernel", "version release kdir vmlinuz modules")):
    @property
    def debug(self):
        return self.version == DEBUG

    @property
    def memory(self):
        return 2048 if self.debug else 512

    @property
    def patience(self):
        """Every time limit is multiplied by it."""
        return 8 if self.debug else 1

    @property
    def append(self):
        # With the whole of ACPI it does not come to its init in minutes. What a
        # cache's free objects hold is looked at besides what KASAN sees.
        return "pci=noacpi slab_debug=FZ" if self.debug else ""

    @property
    def root(self):
        return self.modules[:-len(f"/lib/modules/{self.release}")]


def kernel(version):
    """The stock kernel of a line, downloaded if it is not here; or DEBUG, built."""
    r = subprocess.run([os.path.join(REPO, "scripts/kernel.sh"), version],
                       stdout=subprocess.PIPE, text=True)
    if r.returncode:
        raise VmError(f"there is no kernel {version} (above)")
    return Kernel(*r.stdout.split())


def _terminated(*_):
    """One that is ended from outside still removes its directory."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    raise SystemExit(143)


for _signal in (signal.SIGTERM, signal.SIGHUP):
    signal.signal(_signal, _terminated)


class Cluster:
    """Machines that share a disk and a network."""

    def __init__(self, version, nodes=1, disk_mb=64, own_mb=256, memory=None, cpus=2,
                 tools=(), modules=(), files=(), append="", icount=False, accel="tcg", images=None,
                 disks=None):
        for tool in ("qemu-system-x86_64", "setpriv"):
            initrd.which(tool)
        self.kernel = kernel(version)
        self.own_mb, self.cpus, self.icount, self.accel = own_mb, cpus, icount, accel
        self.memory = memory or self.kernel.memory
        self.append = f"{self.kernel.append} {append}"
        self.images, self.disks = images or {}, disks or {}
        # open for as long as machines may be started: others may remove its name
        self.image = open(initrd.machine_image(self.kernel, tools, modules, files), "rb")
        self.hub = Hub()
        self.nodes = []
        self.dir = tempfile.mkdtemp(prefix="hfvm.")
        atexit.register(self.close)
        self.disk = os.path.join(self.dir, "quorum")
        with open(self.disk, "wb") as f:
            f.truncate(disk_mb << 20)
        self.direct = self._can_direct()
        for i in range(nodes):
            self.nodes.append(Node(self, i + 1))

    def _can_direct(self):
        try:
            os.close(os.open(self.disk, os.O_RDWR | os.O_DIRECT))
            return True
        except OSError:
            return False

    def start(self):
        """Switch all on that are off."""
        off = [n for n in self.nodes if not n.up]
        for n in off:
            n.start(wait=False)
        for n in off:
            n.wait_up()

    def cut(self, a, b):
        """Nothing goes from a to b any more, nor back (hub.cut: one direction)."""
        self.hub.cut(a.number, b.number)
        self.hub.cut(b.number, a.number)

    def mend(self, a, b):
        self.hub.mend(a.number, b.number)
        self.hub.mend(b.number, a.number)

    def verdict(self):
        return {n.number: n.verdict() for n in self.nodes}

    def close(self):
        if self.dir is None:
            return
        atexit.unregister(self.close)
        for n in self.nodes:
            n.power_cut()
        self.hub.close()
        self.image.close()
        if os.environ.get("KEEP") == "1":
            print(f"# kept: {self.dir}", flush=True)
        else:
            shutil.rmtree(self.dir, ignore_errors=True)
        self.dir = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def verdicts(tap, cluster, prefix=""):
    """A point for the verdict of each machine."""
    for number, verdict in cluster.verdict().items():
        tap.ok(verdict == "ok", f"{prefix}n{number}: verdict", verdict)


def main(test):
    """Runs test(tap) as a program that prints TAP; what the machines raise is a
    failed point, with what was said."""
    tap = Tap()
    try:
        test(tap)
    except VmError as e:
        tap.ok(False, "the machines do what the test asks", e)
    sys.exit(tap.done())
