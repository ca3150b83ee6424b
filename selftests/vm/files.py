#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""With the module: one file as a checkpoint, followed whatever an editor does to it, and
a tree of which some is left out. Nothing is asked for: no sync, no scan.

files.py [KERNEL]..."""

import os
import re
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True

import cluster  # noqa: E402
import vm  # noqa: E402

FILE = "/etc/exports"
TREE = "/etc/samba"
# of directories in which only what is left out came or went: no reason for a commit
TIMES = "meta"

# what is done to the file, as editors and administrators do
EDITS = [
    ("written in place", "echo two >>.{f}"),
    ("cut short and written", "echo three >.{f}"),
    ("replaced by rename", "echo four >.{f}.new && mv .{f}.new .{f}"),
    ("replaced by rename, with a backup", "ln .{f} .{f}~ && echo five >.{f}.tmp && mv .{f}.tmp .{f}"),
    ("its mode", "chmod 600 .{f}"),
    ("deleted", "rm .{f}"),
    ("made again", "echo six >.{f}"),
    ("deleted and made again in one go", "rm .{f} && echo seven >.{f}"),
    ("moved away and back", "mv .{f} .{f}.away && mv .{f}.away .{f} && echo eight >>.{f}"),
]


def followed(a, resource, but=None):
    return all(c["change"] == but for c in a.json(f"diff {resource}")["changes"])


def one_file(tap, kernel, a, other):
    a.run(f"mkdir -p .{TREE} && echo one >.{FILE}")
    a.register("nfs", FILE)
    a.hf("online nfs")
    a.sync("nfs")
    for what, command in EDITS:
        gen = a.resource("nfs")["generation"]
        a.run(command.format(f=FILE))
        a.until(lambda: followed(a, "nfs") and a.resource("nfs")["generation"] > gen, f"{what}: it is followed")
        tap.ok(True, f"{kernel}: one file, {what}: followed")
    a.run(f"sh -c 'echo 2 >/proc/self/loginuid; echo nine >>.{FILE}'")
    a.sync("nfs", "--quick")
    notes = [g["note"] for g in a.json("history nfs")["generations"]]
    tap.ok(any(re.search(r"root \(login [^)]+\): sh\[[0-9]+\] " + FILE + r"\b", n) for n in notes),
           f"{kernel}: X7: history says who changed it, and who that was when he logged in", "\n".join(notes))
    gen = a.resource("nfs")["generation"]
    a.run(f"echo x >.{FILE}.other && mkdir .{FILE}.d && rm .{FILE}~")
    a.sync("nfs", "--quick")
    tap.ok(a.resource("nfs")["generation"] == gen, f"{kernel}: what lies beside it is not in it")
    a.hf("offline nfs")
    other.run("mkdir -p ./etc")
    other.hf("online nfs")
    tap.ok(other.run(f"cat .{FILE}") == a.run(f"cat .{FILE}") and other.run("ls ./etc") == "exports\n",
           f"{kernel}: and alone brought to another node")
    other.hf("offline nfs")


def left_out(tap, kernel, a):
    a.run(f"cd .{TREE} && mkdir private cache && echo s >smb.conf && echo k >private/key && echo c >cache/c")
    a.register("smb", TREE, options="--exclude '/*' --include /smb.conf --include '/private/'")
    a.hf("online smb")
    a.sync("smb")
    gen = a.resource("smb")["generation"]
    a.run(f"cd .{TREE} && echo n >new && echo n >cache/n && mkdir d && mv cache/n d/n")
    a.sync("smb", "--quick")
    tap.ok(a.resource("smb")["generation"] <= gen + 1 and followed(a, "smb", TIMES),
           f"{kernel}: what is left out is not in it")
    a.run(f"cd .{TREE} && mv cache private/cache && echo more >>smb.conf")
    a.until(lambda: followed(a, "smb", TIMES), "what comes in from a directory that is left out")
    a.run(f"cd .{TREE} && rm private/cache/c && mv private/cache cache")
    a.until(lambda: followed(a, "smb", TIMES), "what goes there")
    a.hf(f"checkpoint set smb {TREE} --exclude private")
    changes = {c["rel"]: c["change"] for c in a.json(f"diff smb {gen} {a.resource('smb')['generation']}")["changes"]}
    tap.ok(changes.get("private/key") == "removed" and changes.get("new") == "added" and followed(a, "smb", TIMES),
           f"{kernel}: other patterns, while it is online", str(changes))
    a.hf("offline smb")


def while_down(tap, kernel, a, other):
    """Other patterns are set while the owner's daemon is away: the module tells of no change, and yet
    there is something to capture."""
    a.run("mkdir -p ./etc/res && echo f >./etc/res/f && echo swp >./etc/res/f.swp")
    a.register("res", "/etc/res", options="--exclude '*.swp'")
    a.hf("online res")
    a.sync("res")
    gen = a.resource("res")["generation"]
    a.down()
    other.hf("checkpoint set res /etc/res --all")
    since = len(a.log())
    a.up()
    a.wait_state("res", "online")
    tap.ok(a.said("res: the module kept track", since), f"{kernel}: it is resumed from the dirty set", a.log()[since:])

    def added():
        now = a.resource("res")["generation"]
        return now > gen and any((c["rel"], c["change"]) == ("f.swp", "added")
                                 for c in a.json(f"diff res {gen} {now}")["changes"])
    a.until(added, "what is not excluded any more is captured")
    tap.ok(True, f"{kernel}: other patterns, while the daemon was away: the tree is looked through")
    a.hf("offline res")


def brought(tap, kernel, a, other):
    """Directories that a restore makes with their files are tracked from when they have their names."""
    a.run("mkdir -p ./etc/many/d/e && for i in $(seq 20); do echo $i >./etc/many/d/$i; echo $i >./etc/many/d/e/$i; done")
    a.register("many", "/etc/many")
    a.hf("online many")
    a.sync("many")
    a.hf("offline many")
    other.hf("online many")
    tap.ok(other.run("cd ./etc/many && find . -type f | sort | xargs cat") ==
           a.run("cd ./etc/many && find . -type f | sort | xargs cat"), f"{kernel}: many files, brought to another node")
    other.until(lambda: followed(other, "many"), "the restore itself is no change")
    gen = other.resource("many")["generation"]
    other.run("echo changed >./etc/many/d/e/7 && rm ./etc/many/d/8 && mkdir ./etc/many/d/e/new && echo n >./etc/many/d/e/new/f")
    other.until(lambda: followed(other, "many") and other.resource("many")["generation"] > gen,
                "changes in directories that a restore made")
    other.run("echo more >>./etc/many/d/e/new/f")
    other.until(lambda: followed(other, "many"), "and in one that was made in them")
    other.hf("offline many")
    a.hf("online many")
    tap.ok(a.run("cat ./etc/many/d/e/7 ./etc/many/d/e/new/f; ls ./etc/many/d | wc -l") == "changed\nn\nmore\n20\n",
           f"{kernel}: what is changed in it there is followed")
    a.hf("offline many")


def one(tap, kernel):
    with vm.Cluster(kernel) as machines:
        hf = cluster.Holdfast(machines, track={"source": "kernel", "require": "kernel"})
        hf.setup()
        a = hf.members[0]
        other = hf.add(machines.nodes[0], "other")
        other.up()
        one_file(tap, kernel, a, other)
        left_out(tap, kernel, a)
        while_down(tap, kernel, a, other)
        brought(tap, kernel, a, other)
        hf.stop()
        vm.verdicts(tap, machines, f"{kernel} ")


def test(tap):
    for kernel in sys.argv[1:] or vm.KERNELS:
        one(tap, kernel)


vm.main(test)
