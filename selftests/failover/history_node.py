# SPDX-License-Identifier: GPL-2.0-or-later
"""A node of history.py: a daemon in namespaces of its own, its path to the disk, its clocks, its service."""
import json
import mmap
import os
import random
import shutil
import signal
import struct
import subprocess
import threading
import time
import uuid

import history_model as model

R = "h"
WRITERS = ("w0", "w1", "w2")
WORKS, CUT, HANGS, LATE = range(4)
now = time.monotonic


class Node:
    def __init__(self, cluster, name, seed, place=None):
        self.c, self.name, self.rng = cluster, name, random.Random(seed)
        self.dir = os.path.join(cluster.tmp, place or name)
        self.tree = self.dir + "/root/srv/t"
        self.proc = self.pid = None
        self.frozen = False
        self.commands = set()
        self.lock = threading.Lock()
        self.service = None
        for d in ("root/srv", "outside", "state", "run", "hooks"):
            os.makedirs(self.dir + "/" + d, exist_ok=True)
        self.write_conf()
        with open(self.dir + "/faults", "wb") as f:
            f.write(bytes(32))
        with open(self.dir + "/faults", "r+b") as f:
            self.control = mmap.mmap(f.fileno(), 32)
        self.wall = self.boot = 0
        self.rate = 1000
        self.disk(WORKS)
        self.reboot()

    def write_conf(self):
        with open(self.dir + "/conf", "w") as f:
            f.write("[node]\nname = %s\nroot = %s/root\nstate_dir = %s/state\nruntime_dir = %s/run\nkey_file = %s/key\n"
                    "hooks_dir = %s/hooks\n[store]\nurl = disk:%s\n[track]\nsource = fanotify\nscrub = 0\n" %
                    (self.name, self.dir, self.dir, self.dir, self.c.tmp, self.dir, self.c.disk))

    # ---- its machine ----

    def disk(self, mode, slow_ms=0, late_ms=0):
        self.mode = mode
        self.slow, self.late = slow_ms * 1000, late_ms * 1000
        self._control()

    def clock(self, wall_s=None, boot_s=None, rate=None):
        if wall_s is not None:
            self.wall = wall_s
        if boot_s is not None:
            self.boot += boot_s     # it only goes forward
        if rate is not None:
            self.rate = rate
        self._control()

    def _control(self):
        self.control[:] = struct.pack("=iiiiqq", self.mode, self.slow, self.late, self.rate,
                                      int(self.wall * 1e9), int(self.boot * 1e9))

    def reboot(self):
        """Another boot of the machine, as /proc tells it, with clocks that began elsewhere."""
        with open(self.dir + "/boot_id", "w") as f:
            f.write("%s\n" % uuid.UUID(int=self.rng.getrandbits(128), version=4))
        self.offset = self.rng.randrange(1, 1000000)

    def start(self):
        """Its daemon; True once it answers."""
        assert self.proc is None
        self.pid = None
        try:
            os.unlink(self.dir + "/run/holdfastd.sock")
        except FileNotFoundError:
            pass
        try:
            os.unlink(self.dir + "/pid")
        except FileNotFoundError:
            pass
        env = dict(os.environ, LD_PRELOAD=self.c.preload, HF_FAULTS=self.dir + "/faults",
                   HF_FAULTS_DISK=self.c.disk, ASAN_OPTIONS="verify_asan_link_order=0")
        with open(self.dir + "/log", "ab") as log:
            self.proc = subprocess.Popen(
                ["unshare", "--mount", "--net", "--uts", "--ipc", "--time", "--boottime", str(self.offset),
                 "--monotonic", str(self.offset), "--fork", "--kill-child", "sh", "-c",
                 'mount --bind "$1/boot_id" /proc/sys/kernel/random/boot_id && echo $$ >"$1/pid" && '
                 'exec "$2" -c "$1/conf"', "node", self.dir, self.c.build + "/holdfastd"],
                env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        return self.wait_up(20)

    def wait_up(self, seconds):
        end = now() + seconds
        while now() < end:
            if self.proc is None or self.proc.poll() is not None:
                return False
            if os.path.exists(self.dir + "/run/holdfastd.sock") and self.hf("node", "list", bound=3)[0] == 0:
                return True
            time.sleep(0.03)
        return False

    def daemon(self):
        if self.proc and self.pid is None:
            try:
                with open(self.dir + "/pid") as f:
                    self.pid = int(f.read())
            except (FileNotFoundError, ValueError):
                return None
        return self.pid

    def kill(self):
        """kill -9 of its daemon."""
        p = self.daemon()
        if p and self.proc and self.proc.poll() is None:
            try:
                os.kill(p, signal.SIGKILL)
            except ProcessLookupError:
                pass
        if self.proc:
            try:
                self.proc.wait(20)
            except subprocess.TimeoutExpired:
                self.proc.kill()
                self.proc.wait()
        code = self.proc.returncode if self.proc else None
        self.proc = self.pid = None
        return code

    def power_cut(self):
        """Daemon, commands, service, all at once; what runs next is another boot."""
        self.freeze()
        if self.service:
            self.service.dead = self.service.ended = True
        for c in list(self.commands):
            c.kill()
        self.kill()
        self.frozen = False
        if self.service:
            self.service.stop()
        self.reboot()

    def _signal(self, sig):
        for p in [self.daemon()] + [c.pid for c in list(self.commands)]:
            try:
                if p:
                    os.kill(p, sig)
            except ProcessLookupError:
                pass

    def freeze(self):
        with self.lock:
            self.frozen = True
            self._signal(signal.SIGSTOP)

    def thaw(self):
        with self.lock:
            self._signal(signal.SIGCONT)
            self.frozen = False

    def pause_while_frozen(self):
        while self.frozen:
            time.sleep(0.002)

    # ---- commands ----

    def hf(self, *args, bound=60):
        """holdfast ARGS as on this node: exit code, what it printed (JSON), what it said on standard error."""
        self.pause_while_frozen()
        with self.lock:
            p = subprocess.Popen([self.c.build + "/holdfast", "-c", self.dir + "/conf", "--json", *args],
                                 stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            self.commands.add(p)
            if self.frozen:
                os.kill(p.pid, signal.SIGSTOP)
        try:
            out, err = p.communicate(timeout=bound)
        except subprocess.TimeoutExpired:
            p.kill()
            out, err = p.communicate()
        self.commands.discard(p)
        try:
            out = json.loads(out)
        except ValueError:
            out = {}
        return p.returncode, out, err.decode(errors="replace").strip()

    def status(self):
        rc, out, _ = self.hf("status", R, bound=10)
        return out["resources"][0] if rc == 0 and out.get("resources") else {}

    def holds(self):
        """It says of itself that it has the resource."""
        s = self.status()
        return not s or (s.get("owner") == self.name and s.get("state") in ("online", "online-pending"))


class Service:
    """Writers on a node, from the tree as it is; each asks now and then for a sync."""

    def __init__(self, node, tenure, seed):
        self.node, self.tenure = node, tenure
        self.c = node.c
        self.ended = self.dead = False
        self.rng = {w: random.Random("%s %s" % (seed, w)) for w in WRITERS}
        self.threads = [threading.Thread(target=self.run, args=(w,)) for w in WRITERS]
        node.service = self
        for t in self.threads:
            t.start()

    def stop(self):
        self.ended = True
        for t in self.threads:
            t.join()
        if self.node.service is self:
            self.node.service = None

    def run(self, w):
        try:
            while not self.ended:
                self.burst(w, self.rng[w])
        except Exception as e:      # a thread that ends unseen would be no writer
            self.c.broken("the writer %s on %s: %r" % (w, self.node.name, e))

    def burst(self, w, rng):
        for _ in range(rng.randrange(1, 25)):
            while self.node.frozen and not self.ended:
                time.sleep(0.002)
            if self.ended:
                return
            self.operate(w, rng)
            if rng.random() < 0.1:
                time.sleep(rng.random() * 0.02)
        if not self.ended:
            self.sync()
            time.sleep(rng.random() * self.c.pause)

    def sync(self):
        t = self.tenure
        at, called = t.position(), now()
        rc, out, _ = self.node.hf("sync", R, bound=120)
        if self.dead:
            return
        if rc == 0:
            self.c.confirmed(t, at, called, out["resources"][0]["generation"])
        else:
            self.c.count("unconfirmed")
            time.sleep(0.02)

    def operate(self, w, rng):
        b = self.tenure.branch[w]
        op = choose(b, w, rng)
        b.begin(op)
        self.perform(op)
        b.end()

    def perform(self, op):
        kind, path = op[0], os.path.join(self.node.tree, op[1])
        if kind == "create":
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644))
        elif kind == "place":
            new = "%s/outside/%s" % (self.node.dir, threading.get_ident())
            with open(new, "wb") as f:
                f.write(op[3])
            os.chmod(new, op[2])
            os.rename(new, path)
        elif kind in ("write", "append"):
            fd = os.open(path, os.O_WRONLY | (os.O_APPEND if kind == "append" else 0))
            if kind == "append":
                os.write(fd, op[2])
            else:
                os.pwrite(fd, op[3], op[2])
            os.close(fd)
        elif kind == "truncate":
            os.truncate(path, op[2])
        elif kind == "chmod":
            os.chmod(path, op[2])
        elif kind == "link":
            os.link(path, os.path.join(self.node.tree, op[2]))
        elif kind == "symlink":
            os.symlink(op[2], path)
        elif kind == "mkdir":
            os.mkdir(path, 0o755)
        elif kind == "unlink":
            os.unlink(path)
        elif kind == "rmdir":
            os.rmdir(path)
        elif kind == "rename":
            os.rename(path, os.path.join(self.node.tree, op[2]))


def choose(b, w, rng):
    """Something that can be done now."""
    n = b.names
    dirs = [p for p, v in n.items() if isinstance(v, tuple) and v[0] == "dir"]
    files = [p for p, v in n.items() if isinstance(v, model.File)]
    sub = [d for d in dirs if d != w]
    data = b"%s %d %d\n" % (w.encode(), b.begun, rng.getrandbits(40))
    path = "%s/f%d" % (rng.choice(dirs), rng.randrange(6))
    free = path not in n
    what = rng.randrange(100)
    if what < 12 or len(files) < 3:
        return ("create", path) if free else ("append", path, data) if isinstance(n[path], model.File) else ("unlink", path)
    f = rng.choice(files)
    if what < 30:
        return ("append", f, data) if len(n[f].data) < 3000 else ("truncate", f, rng.randrange(40))
    if what < 44:
        return "write", f, rng.randrange(0, len(n[f].data) + 1), data
    if what < 60:
        return "place", (path if free or isinstance(n[path], model.File) else f), 0o600 + rng.randrange(0, 0o100), \
            data * rng.randrange(1, rng.choice((4, 4, 4, 3000)))
    if what < 70:
        return "unlink", f
    if what < 80:
        return ("rename", f, path) if free or isinstance(n[path], model.File) else ("chmod", f, 0o640)
    if what < 84:
        return "chmod", f, 0o600 + rng.randrange(0, 0o100)
    if what < 87 and free:
        return "link", f, path
    if what < 90 and free:
        return "symlink", path, "to-%d" % b.begun
    if what < 94:
        d = "%s/d%d" % (rng.choice(dirs) if len(dirs) < 4 else w, rng.randrange(4))
        if d not in n and d.count("/") < 4:
            return "mkdir", d
    if what < 97 and sub:
        d, e = rng.choice(sub), "%s/d%d" % (w, rng.randrange(4))
        if e not in n and not e.startswith(d + "/"):
            return "rename", d, e
    empty = [d for d in sub if not any(p.startswith(d + "/") for p in n)]
    if empty:
        return "rmdir", rng.choice(empty)
    return "unlink", f


def contents(top, seen):
    """The inodes of the files that look() saw: {path: File}."""
    inodes, files = {}, {}
    for path, value in seen.items():
        if value[0] == "file":
            full = os.path.join(top, path)
            ino = os.stat(full).st_ino
            if ino not in inodes:
                with open(full, "rb") as f:
                    inodes[ino] = model.File(value[1], bytearray(f.read()))
            files[path] = inodes[ino]
    return files


def copy_machine(src, dst):
    """What is on the disks of SRC is on those of DST too."""
    for d in ("root", "state"):
        shutil.rmtree(dst.dir + "/" + d, ignore_errors=True)
        subprocess.run(["cp", "-a", src.dir + "/" + d, dst.dir + "/" + d], check=True)
