#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Stores to shared mappings reach the store: of a process that never closes its file,
of an SQLite database in WAL mode, and on tmpfs, where nobody sees them (X2, P1, P3).
There is no scan and no full comparison in this test.

    stores.py [6.1|6.12]...    ROUNDS= of the cuts (4)"""

import os
import struct
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True

import cluster  # noqa: E402
import initrd  # noqa: E402
import vm  # noqa: E402

ROUNDS = int(os.environ.get("ROUNDS", 4))
MAPPER = os.path.join(initrd.BUILD, "selftests/vm/mapper")
QUIET_S = 4
TICKS = 100
ROWS = 200


class Fed:
    """A process that reads lines from a FIFO."""

    def __init__(self, member, fifo, command):
        self.member, self.fifo = member, fifo
        member.run(f"mkfifo {fifo}")
        self.job = member.machine.spawn(f"cd {member.root} && {command}")

    def wait(self, text):
        self.member.until(lambda: text.encode() in self.job.output, f"it says '{text}'", pause=0.02)

    def say(self, line, answer):
        self.member.run(f"echo '{line}' >{self.fifo}")
        self.wait(answer)

    def end(self):
        self.job.kill()
        self.job.wait()


def mapper(member, path):
    m = Fed(member, "fifo" + path.replace("/", "-"), f"exec /hf/tests/mapper .{path} fifo" + path.replace("/", "-"))
    m.wait("mapped")
    return m


def store(m, text):
    m.say(text, f"stored {text}\n")


def generation(member, name):
    return member.resource(name)["generation"]


def prepare(a):
    a.run("mkdir -p etc/map etc/db ram && mount -t tmpfs ram ram && mkdir ram/one ram/pair && "
          "truncate -s 4096 etc/map/f ram/one/f ram/pair/f && echo 00000000 >ram/pair/g && "
          "echo database >etc/db/readme")
    for name, path in (("map", "/etc/map"), ("db", "/etc/db"), ("ram", "/ram/one")):
        a.register(name, path)
        a.hf(f"online {name}")
    a.register("pair", "/ram/pair")
    a.hf("resource set pair takeover-from=consistent")


def seen(tap, kernel, a, m):
    """What was stored is committed, though nobody asks for it."""
    before = generation(a, "map")
    store(m, "seen")
    a.until(lambda: generation(a, "map") > before and not a.hf("diff map"), "a store is committed")
    tap.ok(True, f"{kernel}: X2: what a process stores is committed, without a sync")
    store(m, "confirmed")
    a.sync("map", "--quick")


def database(a):
    db = Fed(a, "fifo-db", "exec sqlite3 etc/db/db <>fifo-db")
    db.say("PRAGMA journal_mode=WAL; PRAGMA mmap_size=16777216; PRAGMA wal_autocheckpoint=20; "
           "CREATE TABLE t (i INTEGER PRIMARY KEY, x TEXT);", "wal\n")
    for i in range(0, ROWS, ROWS // 4):
        rows = ", ".join(f"({j}, hex(randomblob(200)))" for j in range(i, i + ROWS // 4))
        db.say(f"INSERT INTO t VALUES {rows}; SELECT \"has \" || count(*) FROM t;", f"has {i + ROWS // 4}\n")
    a.sync("db", "--quick")
    return db


def ticks(member):
    """What the daemon has worked so far."""
    return int(member.run("awk '{ print $14 + $15 }' /proc/$(pidof holdfastd)/stat"))


def quiet(tap, kernel, a, m):
    """A file on tmpfs that is mapped is always dirty, but that is no reason to do anything."""
    store(m, "quiet")
    a.sync("ram", "--quick")
    before, work = generation(a, "ram"), ticks(a)
    time.sleep(QUIET_S)
    after, work = generation(a, "ram"), ticks(a) - work
    tap.ok(before == after, f"{kernel}: X2: what is always dirty, but the same, is not committed",
           f"generation {before}, {after}")
    tap.ok(work < QUIET_S * TICKS // 3, f"{kernel}: and keeps no processor busy", f"{work} ticks in {QUIET_S} s")
    store(m, "unseen")
    a.until(lambda: generation(a, "ram") > after, "what nobody saw is committed")
    tap.ok(True, f"{kernel}: X2: what nobody saw is committed after a while")
    store(m, "confirmed")
    a.sync("ram", "--quick")


def restored(tap, kernel, a, other):
    """On another node, when this one has crashed."""
    other.run("mkdir -p etc ram && mount -t tmpfs ram ram")
    a.crash()
    for name in ("map", "db", "ram"):
        other.hf(f"online {name} --fenced")
    tap.ok(other.run("head -1 etc/map/f") == "confirmed\n",
           f"{kernel}: P1: what a process stored before a sync is restored")
    tap.ok(other.run("head -1 ram/one/f") == "confirmed\n", f"{kernel}: P1: and on tmpfs")
    answer = other.run("sqlite3 etc/db/db 'PRAGMA integrity_check; SELECT count(*) FROM t'")
    tap.ok(answer == f"ok\n{ROWS}\n", f"{kernel}: P1: so is all that a database held", answer)
    for name in ("map", "db", "ram"):
        other.hf(f"offline {name}")


def start_again(a):
    since = len(a.log())
    a.up()
    a.until(lambda: all(a.resource(r)["state"] == "offline" for r in ("map", "db", "ram", "pair")),
            f"it has stepped down: {a.log()[since:]}")


def cuts(tap, kernel, a, other):
    """What is in one file was in the other before: in a generation that is called
    consistent it is."""
    good = 0
    said = []
    for _ in range(ROUNDS):
        start_again(a)
        a.hf("online pair")
        job = a.machine.spawn(f"cd {a.root}/ram/pair && exec /hf/tests/mapper -p f g")
        before = generation(a, "pair")
        a.until(lambda: generation(a, "pair") > before + 2, "it commits")
        a.sync("pair", "--quick")
        a.crash()
        job.kill()
        job.wait()
        other.hf("online pair --fenced")
        kinds = [g["consistent"] for g in other.json("history pair")["generations"]]
        first, = struct.unpack("<Q", other.machine.get(other.path("/ram/pair/f"))[:8])
        second, = struct.unpack("<Q", other.machine.get(other.path("/ram/pair/g"))[:8])
        said.append(f"{sum(kinds)} of {len(kinds)} generations are consistent, the newest of them: {first} {second}")
        good += second <= first <= second + 1
        other.hf("offline pair")
    tap.diag("\n".join(said))
    tap.ok(good == ROUNDS, f"{kernel}: P3: a generation of tmpfs that is called consistent is a cut")


def one(tap, kernel):
    with vm.Cluster(kernel, tools=["sqlite3"], files=[(MAPPER, "/hf/tests/mapper")]) as machines:
        hf = cluster.Holdfast(machines, track={"source": "kernel", "require": "kernel"})
        hf.setup()
        machine, a = machines.nodes[0], hf.members[0]
        prepare(a)
        m, ram = mapper(a, "/etc/map/f"), mapper(a, "/ram/one/f")
        seen(tap, kernel, a, m)
        quiet(tap, kernel, a, ram)
        db = database(a)
        other = hf.add(machine, "other")
        other.up()
        restored(tap, kernel, a, other)
        for job in (m, ram, db):
            job.end()
        cuts(tap, kernel, a, other)
        start_again(a)
        hf.stop()
        machine.run(f"umount {a.root}/ram {other.root}/ram")
        vm.verdicts(tap, machines, f"{kernel} ")


def test(tap):
    for kernel in sys.argv[1:] or vm.KERNELS:
        one(tap, kernel)


vm.main(test)
