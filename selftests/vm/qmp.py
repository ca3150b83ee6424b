# SPDX-License-Identifier: GPL-2.0-or-later
"""What runs beside a machine: qemu's monitor, and the network between machines."""

import json
import os
import select
import socket
import threading


class QmpError(Exception):
    pass


class Qmp:
    """qemu's monitor protocol over a connected socket."""

    def __init__(self, sock, timeout=60):
        sock.settimeout(timeout)
        self.sock = sock
        self.file = sock.makefile("rw")
        self.lock = threading.Lock()
        self._read()
        self("qmp_capabilities")

    def _read(self):
        line = self.file.readline()
        if not line:
            raise QmpError("qemu closed its monitor")
        return json.loads(line)

    def __call__(self, command, **arguments):
        with self.lock:
            self.file.write(json.dumps({"execute": command, "arguments": arguments}) + "\n")
            self.file.flush()
            while True:
                r = self._read()
                if "error" in r:
                    raise QmpError(f"{command}: {r['error']['desc']}")
                if "return" in r:
                    return r["return"]

    def close(self):
        self.file.close()
        self.sock.close()


class Hub:
    """Carries Ethernet frames between machines; no port or address of the host is
    used, so that runs never meet. Pairs can be cut, in one direction too."""

    def __init__(self):
        self.ports = {}
        self.cuts = set()
        self.lock = threading.Lock()
        self.wake_r, self.wake_w = os.pipe()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def plug(self, number):
        """The machine's end of a new cable to it."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        ours.setblocking(False)
        with self.lock:
            old = self.ports.pop(number, None)
            self.ports[number] = ours
        if old:
            old.close()
        os.write(self.wake_w, b"p")
        return theirs

    def cut(self, source, to):
        with self.lock:
            self.cuts.add((source, to))

    def mend(self, source, to):
        with self.lock:
            self.cuts.discard((source, to))

    def close(self):
        os.write(self.wake_w, b"q")
        self.thread.join()
        for s in self.ports.values():
            s.close()
        os.close(self.wake_r)
        os.close(self.wake_w)

    def _forward(self, source, frame):
        for number, sock in self.ports.items():
            if number == source or (source, number) in self.cuts:
                continue
            try:
                sock.send(frame)
            except OSError:
                pass  # a full queue or a machine that is off: networks lose frames

    def _run(self):
        while True:
            with self.lock:
                socks = {s.fileno(): (n, s) for n, s in self.ports.items() if s.fileno() >= 0}
            poll = select.poll()
            poll.register(self.wake_r, select.POLLIN)
            for fd in socks:
                poll.register(fd, select.POLLIN)
            for fd, _ in poll.poll():
                if fd == self.wake_r:
                    if b"q" in os.read(self.wake_r, 64):
                        return
                    break
                number, sock = socks[fd]
                try:
                    frame = sock.recv(65536)
                except OSError:
                    continue
                with self.lock:
                    self._forward(number, frame)
