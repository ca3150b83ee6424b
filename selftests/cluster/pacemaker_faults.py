# SPDX-License-Identifier: GPL-2.0-or-later
"""The faults of history.py. Each gets the cluster, with the service's writers at work on the owner O, the owner, the others in
an order of the seed, and the round's random numbers; it says what it accounts for (c.expect), and may leave the fault as it is, because
the cluster is healed after it. All that is drawn is drawn first: it must not hang on timing."""
import os
import shutil
import subprocess
import threading
import time

from history_node import CUT, WORKS

FAULTS = {}


def fault(name):
    def add(fn):
        FAULTS[name] = fn
        return fn
    return add


@fault("power cut of the owner")
def power_cut(c, o, others, rng):
    wait = rng.random()
    c.expect(fenced=[o])
    o.power_cut()
    c.await_service(others)
    time.sleep(wait)


@fault("power cut of all nodes")
def power_cut_all(c, o, others, rng):
    # who comes up first may fence who does not answer yet
    c.expect(fenced=c.nodes)
    for n in [o] + others:
        n.power_cut()


@fault("network cut")
def network_cut(c, o, others, rng):
    n = o if rng.random() < 0.6 else others[0]
    # of two that do not hear each other anybody may win
    loser = [n] if len(c.nodes) > 2 else c.nodes
    c.expect(fenced=loser)
    n.cut()
    if c.await_fencing(loser):
        c.await_service([x for x in c.nodes if x.alive()])


@fault("quorum disk cut for the owner")
def disk_cut(c, o, others, rng):
    wait = 1 + rng.random() * 3
    c.expect(failed={"degraded"})
    o.disk(CUT)
    time.sleep(wait)


@fault("quorum disk cut for the owner, which is to give it away")
def disk_cut_moved(c, o, others, rng):
    wait = rng.random() * 2
    c.expect(failed={"degraded"})
    o.disk(CUT)
    time.sleep(wait)
    c.move(others[0], others[0])
    c.await_service([others[0]])
    c.clear(others[0])


@fault("quorum disk cut for the node that is to have it")
def disk_cut_target(c, o, others, rng):
    c.expect(failed={"start"})
    others[0].disk(CUT)
    c.move(others[0], o)
    c.until(60, "the start to fail on %s" % others[0].name,
            lambda: any(f[0] == "start" for f in c.failures(o)), every=0.3)
    c.await_service([o] + others[1:])
    others[0].disk(WORKS)
    c.clear(o)


@fault("quorum disk cut for all")
def disk_cut_all(c, o, others, rng):
    wait = 1 + rng.random() * 2
    c.expect(failed={"degraded"})
    for n in c.nodes:
        n.disk(CUT)
    time.sleep(wait)


@fault("node frozen beyond its lease, fenced")
def frozen(c, o, others, rng):
    wait = rng.random()
    c.expect(fenced=[o])
    o.freeze()
    c.await_service(others)
    time.sleep(wait)


@fault("node frozen, its fence device lies, thawed")
def frozen_spared(c, o, others, rng):
    waits = [rng.random() * 2 for _ in range(2)]
    c.expect(fenced=[o], failed={"astray"})
    with open(c.dir + "/bmc/lies", "w"):
        pass
    o.freeze()
    if c.await_service(others):
        c.confirms("beside the frozen owner")
    time.sleep(waits[0])
    o.thaw()
    c.until(60, "%s to find out that it does not own the resource" % o.name, lambda: o.mine() == 0)
    time.sleep(waits[1])
    # its Pacemaker knows that it is counted as dead
    o.power_cut()


@fault("node frozen for a moment")
def frozen_short(c, o, others, rng):
    c.expect()
    for s in [rng.random() * 0.8 for _ in range(3)]:
        o.freeze()
        time.sleep(s)
        o.thaw()
        time.sleep(s / 2)


@fault("holdfastd killed")
def daemon_killed(c, o, others, rng):
    all_of_them, wait, again = rng.random() < 0.3, rng.random(), rng.random() < 0.3
    c.expect()
    for n in c.nodes if all_of_them else [o]:
        n.kill_daemon()
    time.sleep(wait)
    if again:
        o.kill_daemon()


@fault("holdfastd killed while the resource moves")
def killed_in_move(c, o, others, rng):
    waits, where = [rng.random() * 0.6 for _ in range(3)], [rng.random() < 0.5 for _ in range(3)]
    c.expect()
    c.move(others[0], others[0])
    for w, there in zip(waits, where):
        time.sleep(w)
        (others[0] if there else o).kill_daemon()
    c.await_service([others[0]])
    c.clear(o)


@fault("crm_resource --move, and again, with a clean-up meanwhile")
def moved(c, o, others, rng):
    to, waits = rng.choice(others + [o]), [rng.random() for _ in range(3)]
    what = rng.choice(("--cleanup", "--refresh"))
    c.expect()
    c.move(others[0], o)
    time.sleep(waits[0])
    c.crm(others[0], "crm_resource", what)
    time.sleep(waits[1])
    c.move(to, o)
    time.sleep(waits[2])
    c.crm(o, "crm_resource", what, "--resource", "app")
    c.await_service([to])
    c.clear(o)


@fault("crm_resource --ban")
def banned(c, o, others, rng):
    everywhere, wait = rng.random() < 0.4, rng.random()
    c.expect()
    for n in [o] + (others if everywhere else []):
        c.crm(o, "crm_resource", "--ban", "--resource", "app", "--node", n.name)
    if everywhere:
        c.until(60, "the service to end", lambda: not any(n.runs() for n in c.nodes))
    else:
        c.await_service(others)
    time.sleep(wait)
    c.clear(o)


@fault("standby, unstandby")
def standby(c, o, others, rng):
    everywhere, wait = rng.random() < 0.3, rng.random() * 3
    c.expect()
    nodes = [o] + (others if everywhere else [])
    for n in nodes:
        c.crm(o, "crm_attribute", "--node", n.name, "--name", "standby", "--update", "on")
    time.sleep(wait)
    for n in nodes:
        c.crm(o, "crm_attribute", "--node", n.name, "--name", "standby", "--delete")


def maintenance(c, at, on):
    c.crm(at, "crm_attribute", "--type", "crm_config", "--name", "maintenance-mode", "--update", "true" if on else "false")


@fault("maintenance mode: moved by hand to a node that Pacemaker does not know of")
def by_hand(c, o, others, rng):
    how, waits = rng.choice(("offline", "fenced", "killed")), [rng.random() for _ in range(2)]
    stopped, served, early = [rng.random() < 0.5 for _ in range(3)]
    to = others[0]
    c.expect(failed={"monitor", "astray"})
    maintenance(c, o, True)
    time.sleep(waits[0])
    if stopped:
        with o.turn:
            c.halt(o)
    if how == "offline":
        c.release(o, o.service)
    elif how == "killed":
        o.kill_daemon()
    c.until(60, "%s to take over by hand" % to.name,
            lambda: c.take(to, *([] if how == "offline" else ["--fenced"])) == 0)
    if served:
        with open(to.file("want"), "w"):
            pass
        if c.await_service([to]):
            c.confirms("by hand on %s" % to.name)
    if early:
        c.crm(to, "crm_resource", "--refresh")
    time.sleep(waits[1])
    maintenance(c, to, False)
    if not early:
        time.sleep(2 * waits[1])
        c.crm(to, "crm_resource", "--refresh")


@fault("maintenance mode: holdfastd killed, the resource cleaned up")
def maintained(c, o, others, rng):
    waits, cleaned = [rng.random() for _ in range(2)], rng.random() < 0.5
    c.expect(failed={"monitor"} if cleaned else ())
    maintenance(c, o, True)
    o.kill_daemon()
    time.sleep(waits[0])
    if cleaned:
        c.crm(others[0], "crm_resource", "--cleanup", "--resource", "app")
    time.sleep(waits[1])
    maintenance(c, o, False)


@fault("administrator: online on all nodes at once, beside Pacemaker")
def at_once(c, o, others, rng):
    rounds, waits = rng.randrange(1, 4), [rng.random() * 0.05 for _ in range(4)]
    c.expect(failed={"monitor", "astray"})
    for n in others:
        if c.take(n) == 0:
            c.wrong("P4: online without --fenced was not refused on %s while the owner was alive" % n.name)
    for _ in range(rounds):
        ts = [threading.Thread(target=lambda n=n, s=s: (time.sleep(s), c.take(n, "--fenced"))) for n, s in zip(c.nodes, waits)]
        waits = waits[1:] + waits[:1]
        for t in ts:
            t.start()
        for t in ts:
            t.join()


@fault("administrator: offline under Pacemaker")
def offline(c, o, others, rng):
    wait = rng.random()
    c.expect(failed={"monitor"})
    c.release(o, o.service)
    time.sleep(wait)


@fault("cloned node")
def cloned(c, o, others, rng):
    """The owner's identity, state and tree are started on another machine under its name, while it runs or before it boots."""
    running, wait, to = rng.random() < 0.5, rng.random(), others[0]
    c.expect(fenced=[o], failed={"monitor", "start", "stop", "astray"})
    if running:
        o.freeze()
    else:
        o.power_cut()
    copy_machine(o, to)
    o.thaw()
    was = o.daemon()
    pid = to.x("sh", "-c", "cd /srv/conf/clone && mount --bind root/srv/conf root/srv/conf && { setsid holdfastd -c conf >log 2>&1 </dev/null & echo $!; }")[1].strip()
    if not running:
        c.await_service(others)
        before = refused(o)
        o.start()
        c.until(30, "one of two clones to end", lambda: ended(to, pid) or refused(o) > before, every=0.2)
    else:
        c.until(30, "one of two clones to end", lambda: ended(to, pid) or o.daemon() != was, every=0.2)
    time.sleep(wait)
    to.x("kill", "-KILL", pid)
    to.x("umount", "-l", "/srv/conf/clone/root/srv/conf")


def refused(node):
    """How often its daemon ended because somebody else has its identity."""
    return sum("is held by" in x for x in node.log_tail(1000))


def ended(node, pid):
    return node.x("kill", "-0", pid)[0] != 0


def copy_machine(src, dst):
    top, here = dst.dir + "/srv/clone", "/srv/conf/clone"
    shutil.rmtree(top, ignore_errors=True)
    for d in "root/srv/conf", "run":
        os.makedirs(top + "/" + d)
    subprocess.run(["cp", "-a", src.dir + "/up/var/lib/holdfast", top + "/state"], check=True)
    subprocess.run(["cp", "-a", src.tree, top + "/root/srv/conf/app"], check=True)
    with open(top + "/conf", "w") as f:
        f.write("[node]\nname = %s\nroot = %s/root\nstate_dir = %s/state\nruntime_dir = %s/run\nkey_file = /etc/holdfast/key\n"
                "[store]\nurl = disk:/dev/qdisk\n" % (src.name, here, here, here))
