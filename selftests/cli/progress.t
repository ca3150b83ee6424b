#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Progress: on a terminal, of what takes longer than a second, and nowhere else.

A daemon that takes its time on purpose tells the command how far it is; and the real one does
tell, of registration, first capture, restore and comparison.
"""
import json
import os
import pty
import select
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get("HF_BUILD", os.path.join(TOP, "build"))
HOLDFAST, HOLDFASTD = os.path.join(BUILD, "holdfast"), os.path.join(BUILD, "holdfastd")
for name in ("HOLDFAST_CONF", "HOLDFAST_SEAM", "NOTIFY_SOCKET", "CREDENTIALS_DIRECTORY"):
    os.environ.pop(name, None)


class Tap:
    def __init__(self):
        self.n = self.bad = 0

    def ok(self, good, name, why=""):
        self.n += 1
        self.bad += not good
        print("ok" if good else "not ok", self.n, "-", name)
        for line in str(why).splitlines() if not good else []:
            print("#", line)
        sys.stdout.flush()


def configure(top, name, **more):
    d = os.path.join(top, name)
    for sub in ("root/srv", "state", "run"):
        os.makedirs(os.path.join(d, sub))
    conf = os.path.join(d, "conf")
    with open(conf, "w", encoding="utf-8") as f:
        f.write(f"[node]\nname = {name}\nroot = {d}/root\nstate_dir = {d}/state\nruntime_dir = {d}/run\n"
                f"key_file = {top}/key\n[store]\nurl = disk:{top}/disk\n[track]\nsource = fanotify\nscrub = 0\n")
    return conf


def slow_daemon(path, seconds, answer):
    """Listens at path: tells progress for so long, then answers; for each that comes."""
    s = socket.socket(socket.AF_UNIX)
    s.bind(path)
    s.listen(4)

    def serve():
        while True:
            try:
                c, _ = s.accept()
            except OSError:
                return
            with c, c.makefile("rwb") as f:
                f.readline()
                end, done = time.monotonic() + seconds, 0
                while True:
                    done += 10
                    f.write(json.dumps({"event": "progress", "resource": "r", "what": "restore", "done": done,
                                        "total": 1000}).encode() + b"\n")
                    f.flush()
                    if time.monotonic() >= end:
                        break
                    time.sleep(0.05)
                f.write(json.dumps(answer).encode() + b"\n")
                f.flush()

    threading.Thread(target=serve, daemon=True).start()
    return s


def on_terminal(args, env=None):
    """Standard error is a terminal; returns (status, what it showed, standard output)."""
    master, slave = pty.openpty()
    p = subprocess.Popen([HOLDFAST, *args], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=slave,
                         env={**os.environ, **(env or {"TERM": "xterm"})})
    os.close(slave)
    shown, out, open_fds = b"", b"", [master, p.stdout.fileno()]
    while open_fds:
        for fd in select.select(open_fds, [], [], 60)[0]:
            try:
                data = os.read(fd, 65536)
            except OSError:
                data = b""
            if not data:
                open_fds.remove(fd)
            elif fd == master:
                shown += data
            else:
                out += data
    os.close(master)
    return p.wait(60), shown.decode(), out.decode()


def drawn(tap, top):
    conf = configure(top, "slow")
    path = os.path.join(top, "slow/run/holdfastd.sock")
    done = {"exit": 0, "result": {"state": "online", "epoch": 1, "generation": 1, "restored": {}, "ms": {}}}
    s = slow_daemon(path, 2.0, done)
    status, shown, out = on_terminal(["-c", conf, "online", "r"])
    lines = [x for x in shown.split("\r\x1b[K") if x]
    tap.ok(status == 0 and len(lines) > 2 and all(x.startswith("r: restore ") and x.endswith("%)") for x in lines),
           "C43: what takes longer than a second shows how far it is", repr((status, shown)))
    tap.ok(shown.endswith("\r\x1b[K"), "and nothing of it is left at the end", repr(shown[-80:]))
    tap.ok("online" in out and "\x1b[K" not in out, "nor among the output", repr(out))
    first = int(lines[0].split()[2])
    tap.ok(first >= 100, "nothing in the first second", lines[0])
    for why, args, env in (("-q", ["-q"], None), ("--json", ["--json"], None),
                           ("a terminal that cannot move its cursor", [], {"TERM": "dumb"})):
        _, shown, _ = on_terminal(["-c", conf, *args, "online", "r"], env)
        tap.ok(shown == "", f"not with {why}", repr(shown))
    p = subprocess.run([HOLDFAST, "-c", conf, "online", "r"], capture_output=True, timeout=60, check=False)
    tap.ok(p.returncode == 0 and p.stderr == b"" and b"restore" not in p.stdout, "not in a pipe", p)
    s.close()
    os.unlink(path)
    s = slow_daemon(path, 0, done)
    _, shown, _ = on_terminal(["-c", conf, "online", "r"])
    tap.ok(shown == "", "not of what is done at once", repr(shown))
    s.close()
    os.unlink(path)
    s = slow_daemon(path, 2.0, {"exit": 5, "error": "r is online elsewhere"})
    status, shown, _ = on_terminal(["-c", conf, "online", "r"])
    tap.ok(status == 5 and shown.endswith("\r\x1b[Kholdfast online: r is online elsewhere\r\n"),
           "an error stands on a line of its own", repr(shown[-120:]))
    s.close()


def events(conf, verb, args):
    """What the daemon says before its reply, and the reply."""
    c = socket.socket(socket.AF_UNIX)
    c.settimeout(120)
    c.connect(os.path.join(os.path.dirname(conf), "run/holdfastd.sock"))
    with c, c.makefile("rwb") as f:
        f.write(json.dumps({"v": 1, "verb": verb, "args": args}).encode() + b"\n")
        f.flush()
        said = []
        for line in f:
            o = json.loads(line)
            if "exit" in o:
                return said, o
            said.append(o)
    raise RuntimeError("the daemon hung up")


def told(tap, top):
    confs = [configure(top, n) for n in "ab"]
    a, b = confs
    subprocess.run([HOLDFAST, "-c", a, "keygen"], check=True, capture_output=True)
    subprocess.run([HOLDFAST, "-c", a, "disk", "format", f"{top}/disk", "--name", "t", "--nodes", "2", "--lease", "1s",
                    "--size", "64MiB"], check=True, capture_output=True)
    daemons = []
    try:
        for conf in confs:
            subprocess.run([HOLDFAST, "-c", conf, "join", f"{top}/disk"], check=True, capture_output=True)
            with open(os.path.join(os.path.dirname(conf), "log"), "wb") as log:
                daemons.append(subprocess.Popen([HOLDFASTD, "-c", conf], stdin=subprocess.DEVNULL, stderr=log))
            for _ in range(400):
                if subprocess.run([HOLDFAST, "-c", conf, "node", "list"], capture_output=True, check=False).returncode == 0:
                    break
                time.sleep(0.05)
        for t in "tu":
            os.mkdir(f"{top}/a/root/srv/{t}")
            for i in range(300):
                with open(f"{top}/a/root/srv/{t}/f{i}", "w", encoding="utf-8") as f:
                    f.write(f"{i}\n")

        def step(what, conf, verb, args, name):
            said, reply = events(conf, verb, args)
            p = [e for e in said if e.get("event") == "progress" and e.get("what") == what]
            tap.ok(reply["exit"] == 0 and p and all(e["resource"] == "r" and e["done"] > 0 and
                                                   (not e["total"] or e["done"] <= e["total"]) for e in p),
                   name, (said[:5], reply))

        events(a, "resource.add", {"name": "r"})
        events(a, "checkpoint.add", {"resource": "r", "path": "/srv/t"})
        step("compare", a, "online", {"resource": "r"}, "the first capture and base tell how far they are")
        step("capture", a, "checkpoint.add", {"resource": "r", "path": "/srv/u"}, "so does a registration")
        step("capture", a, "sync", {"resources": ["r"]}, "so does sync")
        step("compare", a, "diff", {"resource": "r"}, "so does diff")
        step("capture", a, "offline", {"resource": "r"}, "so does offline")
        step("restore", b, "online", {"resource": "r"}, "so does a restore")
        events(b, "offline", {"resource": "r"})
        step("compare", b, "online", {"resource": "r"}, "and the comparison before it")
    finally:
        for p in daemons:
            p.terminate()
        for p in daemons:
            p.wait(60)


def main():
    tap, top = Tap(), tempfile.mkdtemp(prefix="hf-progress-")
    try:
        drawn(tap, top)
        told(tap, top)
    finally:
        shutil.rmtree(top)
    print("1..%d" % tap.n)
    sys.exit(tap.bad != 0)


main()
