# SPDX-License-Identifier: GPL-2.0-or-later
"""A node of history.py: the namespaces and the cgroup of lib.sh's, with a real Corosync, Pacemaker and holdfastd in them. What a
writer does is done from outside, to the directory that is bound into the node."""
import json
import mmap
import os
import signal
import subprocess
import threading
import time
import xml.etree.ElementTree as ElementTree

import history_node
from history_node import WORKS, now


class View:
    """What crm_mon says on a node."""

    def __init__(self, xml):
        top = ElementTree.fromstring(xml)
        nodes = top.findall("nodes/node")
        self.online = {n.get("name") for n in nodes if n.get("online") == "true" and n.get("pending") == "false" and
                       n.get("unclean") == "false"}
        self.members = {r.get("id"): self.place(r) for r in top.findall("resources/group/resource")}
        self.failures = [(self.kind(f),) + tuple(f.get(a, "") for a in ("op_key", "node", "exitstatus", "exitreason"))
                         for f in top.findall("failures/failure")]

    @staticmethod
    def kind(failure):
        """The operation, whose name is RESOURCE_KIND_INTERVAL; or that a monitor was degraded, which is no failure."""
        return "degraded" if "DEGRADED" in failure.get("exitstatus", "") else failure.get("op_key", "?_?_?").split("_")[-2]

    @staticmethod
    def place(r):
        """The one node where it is started; None while anything about it is otherwise."""
        at = [n.get("name") for n in r.findall("node")]
        fine = r.get("role") == "Started" and r.get("failed") == "false" and r.get("blocked") == "false" and \
            r.get("orphaned") == "false" and not r.get("pending")
        return at[0] if fine and len(at) == 1 else None

    def where(self):
        """The one node where all of the group is started."""
        at = set(self.members.values())
        return at.pop() if len(at) == 1 else None


class Node(history_node.Node):
    def __init__(self, c, name):
        self.c, self.name = c, name
        self.dir, self.shared, self.cg = c.dir + "/" + name, c.dir + "/shared", c.cgroup + "/" + name
        self.tree = self.dir + "/srv/app"
        self.frozen, self.cable = False, True
        self.init = None
        self.lock = threading.Lock()
        self.turn = threading.RLock()   # its service begins and ends, or `online` is said there by hand
        self.service = None
        self.wall = self.boot = 0
        self.rate = 1000
        os.makedirs(self.dir + "/outside", exist_ok=True)
        with open(self.shared + "/faults-" + name, "r+b") as f:
            self.control = mmap.mmap(f.fileno(), 32)
        self.disk(WORKS)
        self.find()

    # ---- its machine ----

    def find(self):
        """Its process 1, as this side numbers it."""
        self.init = None
        for p in self.processes():
            try:
                with open("/proc/%s/status" % p) as f:
                    pids = next((x.split()[1:] for x in f if x.startswith("NSpid:")), [])
            except (FileNotFoundError, ProcessLookupError):
                continue
            if len(pids) > 1 and pids[-1] == "1":
                self.init = p

    def processes(self):
        try:
            with open(self.cg + "/cgroup.procs") as f:
                return f.read().split()
        except FileNotFoundError:
            return []

    def alive(self):
        return bool(self.processes())

    def _cgroup(self, what, value):
        with open("%s/cgroup.%s" % (self.cg, what), "w") as f:
            f.write(value)

    def start(self):
        """Power on; what begins by itself takes its time."""
        self.died()
        self._cgroup("freeze", "0")
        self.c.lib('hub ip link del "v$1" 2>/dev/null; node_start "$1"', self.name)
        self.cable = True
        self.find()

    def died(self):
        """What its power takes with it."""
        if self.service:
            self.service.dead = self.service.ended = True
        self.frozen = False
        with self.turn:
            self.halt()

    def power_cut(self):
        if self.service:
            self.service.dead = self.service.ended = True
        self._cgroup("kill", "1")
        while self.alive():
            time.sleep(0.01)
        self.died()

    def freeze(self):
        self.frozen = True
        self._cgroup("freeze", "1")

    def thaw(self):
        if self.frozen:
            self._cgroup("freeze", "0")
            self.frozen = False

    def cut(self):
        self.cable = False
        self.c.lib('node_cut "$1"', self.name)

    def mend(self):
        if not self.cable:
            self.cable = True
            if self.alive():
                self.c.lib('node_mend "$1"', self.name)

    def daemon(self):
        return self.x("pidof", "holdfastd")[1].split()

    def kill_daemon(self):
        self.x("sh", "-c", 'kill -KILL $(pidof holdfastd)')

    def start_daemon(self):
        self.x("sh", "-c", "setsid holdfastd >>/var/log/holdfastd.log 2>&1 </dev/null &")

    # ---- its service, as its agent is told ----

    def file(self, what):
        return "%s/%s-%s" % (self.shared, what, self.name)

    def wanted(self):
        return os.path.exists(self.file("want"))

    def runs(self):
        return os.path.exists(self.file("runs"))

    def halt(self):
        """It ends, whoever wants it."""
        if self.service:
            self.service.stop()
        for f in "want", "runs":
            try:
                os.unlink(self.file(f))
            except FileNotFoundError:
                pass

    # ---- commands ----

    def x(self, *args, bound=30):
        """A command in the node: exit code, standard output, standard error."""
        if not self.init or not os.path.exists("/proc/%s/root/run/node-booted" % self.init):
            return 125, "", "%s is off" % self.name
        p = subprocess.Popen(["sh", "-c", 'echo $$ >"$1" && shift && exec "$@"', "x", self.cg + "/cgroup.procs", "nsenter", "-t", self.init,
                              "-m", "-u", "-i", "-n", "-p", "-r", "-w", "--", *args], stdin=subprocess.DEVNULL,
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)
        try:
            out, err = p.communicate(timeout=bound)
        except subprocess.TimeoutExpired:
            os.killpg(p.pid, signal.SIGKILL)
            out, err = p.communicate()
        return p.returncode, out.decode(errors="replace"), err.decode(errors="replace").strip()

    def hf(self, *args, bound=60):
        self.pause_while_frozen()
        rc, out, err = self.x("holdfast", "--json", *args, bound=bound)
        try:
            out = json.loads(out)
        except ValueError:
            out = {}
        return rc, out, err

    def crm(self, *args, bound=30):
        """One of Pacemaker's commands, which is tried again while it finds no cluster. 108: what is asked for is so."""
        end = now() + bound
        while True:
            rc, out, err = self.x(*args, bound=bound)
            if rc in (0, 108) or now() > end:
                return rc if rc != 108 else 0, err or out
            time.sleep(0.3)

    def view(self):
        rc, out, _ = self.x("crm_mon", "-1", "--output-as=xml", bound=15)
        try:
            return View(out) if rc == 0 else None
        except ElementTree.ParseError:
            return None

    def mine(self):
        """The epoch with which it says that it has the resource online; 0: it does not; None: it says nothing."""
        s = self.status()
        if not s:
            return None
        return s["epoch"] if s.get("owner") == self.name and s.get("state") == "online" else 0

    def log_tail(self, n):
        with open(self.dir + "/up/var/log/holdfastd.log", errors="replace") as log:
            return log.readlines()[-n:]


