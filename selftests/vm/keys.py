#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""W13, P11: with the module, no netlink message has anything of a crypto checkpoint's contents. An nlmon
captures all of them while keys are written, changed, renamed, captured, restored and asked about; then the
capture is searched as selftests/rules/w13_crypto.t searches every other place.

The kernel shows nlmon no messages of audit and none of uevents; Holdfast opens neither.

    keys.py [6.1|6.12]..."""

import base64
import collections
import os
import random
import re
import signal
import string
import struct
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True

import cluster  # noqa: E402
import initrd  # noqa: E402
import vm  # noqa: E402

BUILT = os.path.join(initrd.BUILD, "selftests/vm")
SEARCH = os.path.join(initrd.REPO, "selftests/rules/search.py")
HEADER = os.path.join(initrd.REPO, "include/uapi/linux/holdfast.h")
KEYS, PLAIN = "/etc/keys", "/etc/plain"
SECRETS, CAPTURE = "/run/secrets", "/run/netlink"
GENERIC = GENL_ID_CTRL = 16
CTRL_ATTR_FAMILY_ID, CTRL_ATTR_FAMILY_NAME = 1, 2

# what becomes of keys; each takes another secret
STEPS = [
    "dd if={s}/changed of=service.pem conv=notrunc 2>/dev/null",
    "cat {s}/anew >service.pem",
    "cat {s}/replaced >new && mv new service.pem",
    "mv service.pem renamed.pem",
    "mkdir token && cat {s}/large >large && mv large token/large",
    "setfattr -n user.key -v $(cat {s}/attribute) renamed.pem",
    "ln -s $(cat {s}/target) link",
    "cat {s}/deleted >deleted && ln deleted token/other && rm deleted",
]


def text(length):
    """Which setfattr takes for no encoding, and which has no slash, in base64 neither."""
    return "K" + "".join(random.SystemRandom().choices(string.ascii_letters + string.digits, k=length - 1))


def make_secrets(directory):
    """{name: contents}, which are files of the directory, too."""
    pem = "-----BEGIN PRIVATE KEY-----\n" + base64.encodebytes(os.urandom(1200)).decode() + "-----END PRIVATE KEY-----\n"
    secrets = {"pem": pem.encode(), "large": os.urandom(600000), "mapped": f"{text(200)}\n".encode()}
    secrets |= {name: text(200).encode() for name in ("attribute", "target")}
    secrets |= {name: os.urandom(2000) for name in ("changed", "anew", "replaced", "deleted", "dead", "before", "after")}
    os.mkdir(directory)
    for name, data in secrets.items():
        with open(os.path.join(directory, name), "wb") as f:
            f.write(data)
    return secrets


def listen(a):
    """What captures all netlink messages from now on."""
    a.machine.run("modprobe nlmon && ip link add nlmon0 type nlmon && ip link set nlmon0 up")
    job = a.machine.spawn(f"exec /hf/tests/nltap nlmon0 {CAPTURE}")
    a.until(lambda: job.done or b"listening" in job.output, "nltap listens")
    return job


def inside(a, command):
    a.run(f"umask 077 && cd .{KEYS} && {command.format(s=SECRETS)}")


def mapped(a):
    """A store to a shared mapping, by who never closes the file."""
    inside(a, f"truncate -s 4096 map && mkfifo {SECRETS}/fifo")
    job = a.machine.spawn(f"exec /hf/tests/mapper {a.path(KEYS)}/map {SECRETS}/fifo")
    a.until(lambda: b"mapped" in job.output, "it is mapped")
    a.run(f"cat {SECRETS}/mapped >{SECRETS}/fifo")
    a.until(lambda: b"stored" in job.output, "it is stored")
    a.sync("keys", "--quick")
    job.kill()
    job.wait()


def work(tap, kernel, a, other, control):
    """Every way on which the module and others speak of a tree, over one with keys in it."""
    a.run(f"mkdir -m 700 -p .{KEYS} .{PLAIN} && echo public >.{PLAIN}/readme")
    inside(a, "cat {s}/pem >service.pem")
    a.register("keys", KEYS, options="--crypto")
    a.hf(f"checkpoint add keys {PLAIN}")
    a.hf("online keys")
    for name in control:
        a.run(f"echo public >.{PLAIN}/{name}")
    for command in STEPS:
        inside(a, command)
        a.sync("keys", "--quick")
    mapped(a)
    for command in ("tree list", "tree dirty keys", "status keys", "history keys", "diff keys 1"):
        a.hf(command)
    a.crash()
    inside(a, "cat {s}/dead >service.pem")
    a.up()
    a.wait_state("keys", "online")
    a.sync("keys")
    a.hf("offline keys")
    # what lies there is displaced
    other.run(f"mkdir -m 700 -p .{KEYS}")
    inside(other, "cat {s}/before >service.pem")
    other.hf("online keys")
    tap.ok(other.listing(KEYS) == a.listing(KEYS) and len(a.listing(KEYS)) > 8, f"{kernel}: all of it is brought to another node",
           "\n".join(set(other.listing(KEYS)) ^ set(a.listing(KEYS))))
    inside(other, "cat {s}/after >>service.pem")
    other.sync("keys")


def messages(capture):
    """(protocol, type, what follows the header) of each netlink message."""
    at = 0
    while at < len(capture):
        length, protocol = struct.unpack_from("=II", capture, at)
        part = capture[at + 8:at + 8 + length]
        at += 8 + length
        while len(part) >= 16:
            size, kind = struct.unpack_from("=IH", part)
            if size < 16 or size > len(part):
                raise vm.Failed(f"the capture has a message of {size} bytes in {len(part)}")
            yield protocol, kind, part[16:size]
            part = part[(size + 3) & ~3:]


def attributes(data):
    found = {}
    while len(data) >= 4:
        size, kind = struct.unpack_from("=HH", data)
        found[kind & 0x3fff] = data[4:size]
        data = data[max(4, (size + 3) & ~3):]
    return found


def family(capture):
    """Of the module's family: {command: how many messages}, and all that they say."""
    number, counts, said = None, collections.Counter(), []
    for protocol, kind, body in messages(capture):
        if protocol == GENERIC and kind == GENL_ID_CTRL:
            a = attributes(body[4:])
            if a.get(CTRL_ATTR_FAMILY_NAME) == b"holdfast\0" and CTRL_ATTR_FAMILY_ID in a:
                number = struct.unpack("=H", a[CTRL_ATTR_FAMILY_ID])[0]
        elif protocol == GENERIC and kind == number:
            counts[body[0]] += 1
            said.append(body[4:])
    return counts, b"\0".join(said)


def commands():
    """The names of the family's commands, from 1 on."""
    with open(HEADER) as f:
        return re.findall(r"^\tHOLDFAST_CMD_(\w+)(?: = 1)?,$", f.read(), re.MULTILINE)


def search(what, capture):
    """Pieces that were looked for, how many of them were found; what search.py printed."""
    r = subprocess.run([sys.executable, SEARCH, what, capture], capture_output=True, text=True, timeout=300)
    m = re.search(r"^(\d+) pieces, \d+ bytes looked through, (\d+) found$", r.stdout, re.MULTILINE)
    if not m:
        raise vm.Failed(f"search.py: exit {r.returncode}: {r.stdout}{r.stderr}")
    return int(m[1]), int(m[2]), r.stdout


def look(tap, kernel, capture, secrets, control):
    with open(capture, "rb") as f:
        counts, said = family(f.read())
    missing = [name for n, name in enumerate(commands(), 1) if not counts[n]]
    tap.ok(counts and not missing, f"{kernel}: every command of the module's family was captured", f"not {missing}: {counts}")
    tap.diag(", ".join(f"{counts[n]} {name}" for n, name in enumerate(commands(), 1)))
    names = [b"keys\0", KEYS.encode(), b"service.pem", b"renamed.pem", b"token/large"]
    tap.ok(all(name in said for name in names), f"{kernel}: they tell of the keys' names",
           [name for name in names if name not in said])
    pieces, found, output = search(control, capture)
    tap.ok(pieces > 20 and found == pieces, f"{kernel}: what names of other files say is found, as it is, "
           f"in hex and in base64 ({pieces} pieces)", output)
    pieces, found, output = search(secrets, capture)
    tap.ok(pieces > 200 and not found, f"{kernel}: W13, P11: nothing of the keys is in any netlink message "
           f"({pieces} pieces)", output)


def one(tap, kernel):
    files = [(os.path.join(BUILT, name), f"/hf/tests/{name}") for name in ("mapper", "nltap")]
    with vm.Cluster(kernel, modules=["nlmon"], files=files) as machines:
        hf = cluster.Holdfast(machines, track={"source": "kernel", "require": "kernel"})
        hf.setup(daemons=False)
        a = hf.members[0]
        secrets, control, capture = (os.path.join(machines.dir, name) for name in ("secrets", "control", "netlink"))
        a.machine.run(f"mkdir -m 700 {SECRETS}")
        for name, data in make_secrets(secrets).items():
            a.machine.put(f"{SECRETS}/{name}", data, "600")
        # pieces of 24 bytes at multiples of 6, so that their base64 is part of the whole's
        public = text(78)
        with open(control, "w") as f:
            f.write(public)
        tapped = listen(a)
        a.up()
        other = hf.add(machines.nodes[0], "other")
        other.up()
        work(tap, kernel, a, other, [public, public.encode().hex(), base64.b64encode(public.encode()).decode()])
        hf.stop()
        tapped.kill(signal.SIGTERM)
        status, output = tapped.wait()
        tap.ok(not status, f"{kernel}: all netlink messages were captured", output)
        tap.diag(output.splitlines()[-1])
        with open(capture, "wb") as f:
            f.write(a.machine.get(CAPTURE))
        a.machine.run(f"ip link del nlmon0 && rm -r {SECRETS} {CAPTURE}")
        look(tap, kernel, capture, secrets, control)
        vm.verdicts(tap, machines, f"{kernel} ")


def test(tap):
    for kernel in sys.argv[1:] or vm.KERNELS:
        one(tap, kernel)


vm.main(test)
