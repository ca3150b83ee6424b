# SPDX-License-Identifier: GPL-2.0-or-later
"""One test machine: its qemu, its commands, its verdict; vm.py says how to use it."""

import collections
import os
import re
import signal
import socket
import struct
import subprocess
import threading
import time

import initrd
from initrd import VmError
from qmp import Qmp, QmpError

BOOT_TIMEOUT = 240
BOOTS = 3
EXEC_TIMEOUT = 120
VERDICT_TIMEOUT = 120
CMDLINE = ("console=ttyS0 loglevel=5 panic=-1 oops=panic panic_on_warn=1 log_buf_len=4M "
           "printk.devkmsg=on slab_nomerge mitigations=off rcupdate.rcu_cpu_stall_timeout=120 watchdog_thresh=60")
COMPLAINT = re.compile("cut here|BUG:|WARNING:|Oops|Kernel panic|init: ")

# Emulated processors that patch their code at the same time trip over a
# breakpoint now and then, or over a step that nobody asked for, long before any of ours runs.
TRAP = re.compile("int3|exc_debug")

Result = collections.namedtuple("Result", "status output")


class Timeout(VmError):
    pass


class Failed(VmError):
    pass


class NodeDown(VmError):
    pass


class PowerOff(NodeDown):
    pass


class Died(NodeDown):
    pass


class Job:
    """A command that runs in a machine."""

    def __init__(self, node, number, line):
        self.node = node
        self.number = number
        self.line = line
        self.output = bytearray()
        self.status = None
        self.ended = threading.Event()

    @property
    def done(self):
        return self.ended.is_set()

    def wait(self, timeout=EXEC_TIMEOUT):
        timeout *= self.node.patience
        if not self.ended.wait(timeout):
            self.kill()
            tail = bytes(self.output[-2000:]).decode("utf-8", "replace")
            raise Timeout(f"{self.node.name}: no end after {timeout} s: {self.line}\n{tail}")
        if self.status is None:
            self.node.raise_down(self.line)
        return Result(self.status, self.output.decode("utf-8", "replace"))

    def kill(self, sig=signal.SIGKILL):
        self.node.send("K", self.number, bytes([sig]), quiet=True)


class Node:
    """One machine: on or off, with its disk and its console."""

    def __init__(self, cluster, number):
        self.cluster = cluster
        self.patience = cluster.kernel.patience
        self.number = number
        self.name = f"n{number}"
        self.address = f"10.77.0.{number}"
        self.console = os.path.join(cluster.dir, f"{self.name}.console")
        self.disk = os.path.join(cluster.dir, f"{self.name}.disk")
        self.process = None
        self.expected = True
        self.told = False
        self.verdict_line = None
        with open(self.disk, "wb") as f:
            f.truncate(cluster.own_mb << 20)
        subprocess.run([initrd.which("mke2fs"), "-q", "-F", "-t", "ext4",
                        "-E", "lazy_itable_init=0,lazy_journal_init=0", self.disk], check=True)

    # on and off

    def start(self, wait=True):
        """Switch on."""
        if threading.current_thread() is not threading.main_thread():
            raise VmError("start() has to be called from the main thread")
        if self.up:
            raise VmError(f"{self.name} is on already")
        self.jobs = {}
        self.lock = threading.Lock()
        self.next_job = 1
        self.hello = threading.Event()
        self.expected = self.told = False
        self.verdict_line = None
        self.got_verdict = threading.Event()
        ours, theirs = zip(*(socket.socketpair() for _ in range(3)))
        net = self.cluster.hub.plug(self.number)
        fds = [s.fileno() for s in theirs] + [net.fileno()]
        with open(self.console, "ab") as console:
            # the qemu of a run that was killed does not stay
            self.process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "SIGKILL", "--"] + self._command(*fds),
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=console,
                pass_fds=fds + [self.cluster.image.fileno()])
        for s in list(theirs) + [net]:
            s.close()
        self.commands, self.verdicts, monitor = ours
        self.threads = [threading.Thread(target=f, daemon=True)
                        for f in (self._read_commands, self._read_verdict)]
        for t in self.threads:
            t.start()
        try:
            self.qmp = Qmp(monitor)
        except (OSError, QmpError):
            self.process.wait()
            self.raise_down("start")
        if wait:
            self.wait_up()

    def _command(self, command_fd, verdict_fd, monitor_fd, net_fd):
        c = self.cluster
        # A power cut is the end of qemu, not of this machine, so what qemu has
        # handed on counts as written, and is not flushed.
        direct = "on" if c.direct else "off"
        cache = f"format=raw,cache.direct={direct},cache.no-flush=on,file.locking=off"
        cmd = ["qemu-system-x86_64", "-name", self.name, "-nodefaults", "-no-user-config",
               "-accel", c.accel, "-cpu", "max", "-m", str(c.memory), "-smp", str(c.cpus),
               "-display", "none", "-no-reboot",
               "-kernel", c.kernel.vmlinuz, "-initrd", f"/proc/self/fd/{c.image.fileno()}",
               "-append", f"{CMDLINE} hf.node={self.number} {c.append}".strip(),
               "-chardev", f"file,id=con,path={self.console},append=on", "-serial", "chardev:con",
               "-chardev", f"socket,id=qmp,fd={monitor_fd}",
               "-mon", "chardev=qmp,mode=control",
               "-device", "virtio-serial-pci",
               "-chardev", f"socket,id=cmd,fd={command_fd}",
               "-device", "virtserialport,chardev=cmd,name=hf.cmd",
               "-chardev", f"socket,id=verdict,fd={verdict_fd}",
               "-device", "virtserialport,chardev=verdict,name=hf.verdict",
               "-drive", f"if=none,id=own,file={self.disk},{cache}",
               "-device", "virtio-blk-pci,drive=own,serial=hfnode",
               "-drive", f"if=none,id=quorum,file={c.disk},{cache}",
               "-device", "virtio-blk-pci,drive=quorum,serial=hfquorum,share-rw=on",
               "-netdev", f"dgram,id=net,local.type=fd,local.str={net_fd}",
               "-device", "virtio-net-pci,id=nic,netdev=net,romfile=,"
                          f"mac=52:54:00:4d:00:{self.number:02x}"]
        for serial, path in c.images.items():
            # all of them read it, and this machine keeps it in its memory once
            cmd += ["-drive", f"if=none,id={serial},file={path},format=raw,readonly=on,file.locking=off",
                    "-device", f"virtio-blk-pci,drive={serial},serial={serial}"]
        for serial, path in c.disks.items():
            cmd += ["-drive", f"if=none,id={serial},file={path},{cache}",
                    "-device", f"virtio-blk-pci,drive={serial},serial={serial},share-rw=on"]
        if c.icount:
            # the clock is that of the processor alone, and jumps while it is idle
            cmd += ["-icount", "shift=0,sleep=off"]
        return cmd

    @property
    def up(self):
        return self.process is not None and self.process.poll() is None

    def wait_up(self, timeout=BOOT_TIMEOUT):
        timeout *= self.patience
        end = time.monotonic() + timeout
        boots = 1
        while not self.hello.wait(0.2):
            if not self.up:
                trap = None if self.expected else TRAP.search(self.console_tail())
                if boots == BOOTS or not trap:
                    self.raise_down("boot")
                boots += 1
                print(f"# {self.name} died while it booted: {trap[0]} in the emulator; once more", flush=True)
                self._gone()
                self.start(wait=False)
            if time.monotonic() > end:
                raise Timeout(f"{self.name} did not boot in {timeout} s\n{self.console_tail()}")

    def _gone(self):
        self.process.wait()
        for t in self.threads:
            t.join()
        self.qmp.close()
        self.commands.close()
        self.verdicts.close()

    def power_cut(self):
        """What is in its memory is gone, at this moment."""
        self.expected = True
        if self.up:
            self.process.kill()
            self._gone()

    def shutdown(self, timeout=EXEC_TIMEOUT):
        """End every process, unmount, switch off."""
        self.expected = True
        self.spawn("trap '' TERM; kill -TERM -1; sleep 1; kill -KILL -1; cd /; "
                   "sync; umount /node; poweroff -f")
        self.wait_off(timeout)

    def wait_off(self, timeout=EXEC_TIMEOUT):
        """For a machine that goes down by itself."""
        self.expected = True
        try:
            self.process.wait(timeout * self.patience)
        except subprocess.TimeoutExpired:
            raise Timeout(f"{self.name} did not switch off in {timeout} s\n"
                          f"{self.console_tail()}") from None
        self._gone()

    def freeze(self):
        self.qmp("stop")

    def thaw(self):
        self.qmp("cont")

    def link(self, up):
        """Plug or unplug the network cable."""
        self.qmp("set_link", name="nic", up=up)

    # commands

    def send(self, kind, number, payload=b"", quiet=False):
        try:
            with self.lock:
                for at in range(0, max(len(payload), 1), 32768):
                    part = payload[at:at + 32768]
                    self.commands.sendall(struct.pack("<IIc", len(part), number, kind.encode()) +
                                          part)
        except OSError:
            if not quiet:
                self.raise_down("send")

    def spawn(self, line, stdin=b""):
        """Start a shell command; returns a Job."""
        if not self.up:
            self.raise_down(line)
        if len(line) > 32000:
            raise VmError("a command of more than 32000 characters; put() it and run that")
        with self.lock:
            job = Job(self, self.next_job, line)
            self.next_job += 1
            self.jobs[job.number] = job
        self.send("R", job.number, line.encode())
        if stdin:
            self.send("I", job.number, stdin)
        self.send("I", job.number)
        return job

    def exec(self, line, timeout=EXEC_TIMEOUT, stdin=b""):
        """Run a shell command; returns (status, output)."""
        return self.spawn(line, stdin).wait(timeout)

    def run(self, line, timeout=EXEC_TIMEOUT, stdin=b""):
        """Run a shell command that has to succeed; returns its output."""
        r = self.exec(line, timeout, stdin)
        if r.status:
            raise Failed(f"{self.name}: exit {r.status}: {line}\n{r.output}")
        return r.output

    def put(self, path, data, mode="644"):
        """Make a file, durable and whole."""
        if isinstance(data, str):
            data = data.encode()
        self.run(f"cat >'{path}.put' && chmod {mode} '{path}.put' && sync '{path}.put' && "
                 f"mv '{path}.put' '{path}'", stdin=data)

    def get(self, path):
        """The bytes of a file."""
        job = self.spawn(f"cat '{path}'")
        if job.wait().status:
            raise Failed(f"{self.name}: {job.output.decode('utf-8', 'replace')}")
        return bytes(job.output)

    def _read_commands(self):
        f = self.commands.makefile("rb")
        try:
            while True:
                head = f.read(9)
                if len(head) < 9:
                    break
                length, number, kind = struct.unpack("<IIc", head)
                self._received(kind, number, f.read(length))
        except OSError:
            pass
        with self.lock:
            jobs = list(self.jobs.values())
        # only after this may waiters ask whether the machine is on
        self.process.wait()
        for job in jobs:
            job.ended.set()

    def _received(self, kind, number, payload):
        if kind == b"H":
            self.hello.set()
            return
        with self.lock:
            job = self.jobs.get(number)
        if job is None:
            return
        if kind == b"O":
            job.output += payload
        elif kind == b"X":
            job.status = struct.unpack("<I", payload)[0]
            with self.lock:
                del self.jobs[number]
            job.ended.set()

    # the end

    def _read_verdict(self):
        line = b""
        try:
            while b"\n" not in line:
                part = self.verdicts.recv(4096)
                if not part:
                    break
                line += part
        except OSError:
            pass
        if b"\n" in line:
            self.verdict_line = line.decode("utf-8", "replace").strip()
        self.got_verdict.set()

    def verdict(self):
        """What the machine says of its run: "ok", or "fail" and why."""
        if not self.up:
            how = "was off" if self.expected else "died"
            return f"fail {self.name} {how} when it was asked\n{self._tail_once()}"
        # it comes another way than what is written early, and may be faster
        asked = os.urandom(8).hex()
        try:
            said = self.exec(f"HF_ASKED={asked} exec /hf/verdict", VERDICT_TIMEOUT).output
        except VmError as e:
            return f"fail no verdict: {e}"
        if not self.got_verdict.wait(10) or self.verdict_line is None:
            return f"fail no verdict\n{self._tail_once()}"
        token, _, line = self.verdict_line.partition(" ")
        if token != asked:
            return "fail something was written to the verdict's port before it was asked for"
        if line == "ok":
            return "ok"
        more = [text for text in said.splitlines() if not text.startswith("verdict: ")]
        return "\n".join([line] + more + [self._complaints()])

    def console_tail(self, lines=25):
        """The end of its console, or from where the kernel began to complain."""
        with open(self.console, "rb") as f:
            text = f.read()[-60000:].decode("utf-8", "replace").splitlines()
        text = [line.rstrip() for line in text if line.strip()]
        for at, line in enumerate(text):
            if COMPLAINT.search(line):
                return "\n".join(text[at:at + 120])
        return "\n".join(text[-lines:])

    def _complaints(self):
        """What its kernel complained of without dying of it, as lockdep does."""
        tail = self.console_tail()
        return tail if COMPLAINT.search(tail) else ""

    def _tail_once(self):
        tail = "" if self.told else self.console_tail()
        self.told = True
        return tail

    def raise_down(self, doing):
        if self.expected:
            raise PowerOff(f"{self.name} was switched off: {doing}")
        raise Died(f"{self.name} died: {doing}\n{self._tail_once()}")
