# SPDX-License-Identifier: GPL-2.0-or-later
"""The faults of history.py. Each gets the cluster, with the resource online on the owner O and writers at work, the
owner, the others in an order of the seed, and the round's random numbers; it may leave the fault as it is,
because the cluster is healed after it. All that is drawn is drawn first: it must not hang on timing."""
import threading
import time

from history_node import CUT, HANGS, LATE, Node, R, copy_machine

FAULTS = {}


def fault(name):
    def add(fn):
        FAULTS[name] = fn
        return fn
    return add


@fault("daemon killed (-9)")
def daemon_killed(c, o, others, rng):
    wait, taken, again = rng.random(), rng.random() < 0.4, rng.random() < 0.3
    o.kill()
    if taken:
        c.take_over(others[0], fenced=True)
    time.sleep(wait)
    c.start(o)
    if again:
        o.kill()
        c.start(o)


@fault("node killed")
def node_killed(c, o, others, rng):
    fenced, late = rng.random() < 0.5, rng.random()
    o.power_cut()
    c.take_over(others[0], fenced)
    time.sleep(late)


@fault("all nodes killed")
def all_killed(c, o, others, rng):
    for n in [o] + others:
        n.power_cut()
    # a node that boots goes on with what it had online; whoever has it is found by owner()
    for n in others + [o]:
        c.start(n)


@fault("node frozen beyond its lease, thawed")
def frozen(c, o, others, rng):
    fenced, late, more, idle = rng.random() < 0.3, rng.random(), rng.random(), rng.random() < 0.4
    if idle and o.service:
        # neither what it would commit tells it, nor the position that it notes once it is idle
        o.service.stop()
        o.hf("sync", R)
        time.sleep(1)
    o.freeze()
    c.take_over(others[0], fenced)
    time.sleep(late)
    o.thaw()
    time.sleep(more)


@fault("node frozen for less than a lease")
def frozen_short(c, o, others, rng):
    for s in [rng.random() * 0.6 for _ in range(3)]:
        o.freeze()
        time.sleep(s)
        o.thaw()
        time.sleep(s / 2)


@fault("quorum disk cut for the owner")
def cut_owner(c, o, others, rng):
    taken, wait = rng.random() < 0.6, rng.random() * 2
    o.disk(CUT)
    if taken:
        c.take_over(others[0], fenced=False)
    else:
        time.sleep(wait)


@fault("quorum disk cut for another node")
def cut_other(c, o, others, rng):
    wait = rng.random()
    others[0].disk(CUT)
    before = c.n["confirmed"]
    if c.take(others[0], "--fenced", serve=False) == 0:
        c.wrong("online on %s returned 0 without the disk" % others[0].name)
    time.sleep(wait)
    c.until(30, "a confirmation while another node has no disk", lambda: c.n["confirmed"] > before)


@fault("quorum disk cut for all")
def cut_all(c, o, others, rng):
    wait, asked = rng.random() * 2, rng.random() < 0.5
    for n in c.nodes:
        n.disk(CUT)
    if asked:
        c.take(others[0], "--fenced", serve=False)
    time.sleep(wait)


@fault("quorum disk hangs, writes go on later")
def hangs(c, o, others, rng):
    fenced, late = rng.random() < 0.5, rng.random()
    o.disk(HANGS)
    c.take_over(others[0], fenced)
    time.sleep(late)


@fault("writes fail and land later")
def late(c, o, others, rng):
    fenced = rng.random() < 0.7
    o.disk(LATE, late_ms=400)
    c.take_over(others[0], fenced)
    # not longer than a lease: what a path may hold back (claims.rst)
    time.sleep(0.45)


@fault("quorum disk slow for all")
def slow(c, o, others, rng):
    ms, fenced, wait = rng.randrange(10, 120), rng.random() < 0.5, rng.random()
    for n in c.nodes:
        n.disk(0, slow_ms=ms)
    time.sleep(wait)
    c.take_over(others[0], fenced=fenced, release=not fenced)
    time.sleep(wait)


@fault("clocks jump, run fast and slow")
def clocks(c, o, others, rng):
    jumps = [(rng.choice((-1, 1)) * 10 ** rng.uniform(0, 8), 10 ** rng.uniform(-1, 5), rng.choice((900, 970, 1030, 1100)))
             for _ in range(2 * len(c.nodes))]
    fenced, waits = rng.random() < 0.4, [rng.random() * 0.5 for _ in jumps]
    for n, (wall, boot, rate), wait in zip(c.nodes * 2, jumps, waits):
        n.clock(wall, boot, rate)
        time.sleep(wait)
    c.take_over(others[0], fenced=fenced, release=not fenced)
    time.sleep(waits[0])


@fault("two nodes told to take over at once")
def at_once(c, o, others, rng):
    rounds, waits = rng.randrange(1, 4), [rng.random() * 0.01 for _ in range(12)]
    free = rng.random() < 0.5
    two = (others + [o])[:2]
    if free or o in two:
        c.offline(o)
    for _ in range(rounds):
        ts = [threading.Thread(target=lambda n=n, s=s: (time.sleep(s), c.take(n, "--fenced"))) for n, s in zip(two, waits)]
        waits = waits[2:]
        for t in ts:
            t.start()
        for t in ts:
            t.join()


@fault("cloned node")
def cloned(c, o, others, rng):
    running, wait = rng.random() < 0.5, rng.random() * 0.05
    twin = Node(c, o.name, rng.random(), place="%s-twin%d" % (o.name, c.n["rounds"]))
    if running:
        o.freeze()
        copy_machine(o, twin)
        o.thaw()
        if twin.start():
            c.until(30, "one of two clones to end", lambda: o.proc.poll() is not None or twin.proc.poll() is not None)
    else:
        o.power_cut()
        copy_machine(o, twin)
        ts = [threading.Thread(target=o.start), threading.Thread(target=lambda: (time.sleep(wait), twin.start()))]
        for t in ts:
            t.start()
        for t in ts:
            t.join()
        c.until(30, "one of two clones to end", lambda: o.proc.poll() is not None or twin.proc.poll() is not None)
    if o.proc.poll() is None:
        twin.kill()
        return
    # it is the node from now on; the other machine is thrown away
    o.kill()
    if o.service:
        o.service.stop()
    c.nodes[c.nodes.index(o)] = twin
    c.note("the clone of %s has its identity now" % o.name)


@fault("administrator: online on a second node")
def second(c, o, others, rng):
    taken = 0
    for n in ([o] + others) * 2:
        if n is not c.owner():
            taken += c.take(n) == 0
    # a machine that is too busy misses its heartbeats at times, and is taken for dead
    if taken > len(others):
        c.wrong("P4: online without --fenced was not refused while the owner was alive, %d times" % taken)


@fault("administrator: --fenced, but the owner lives")
def lied(c, o, others, rng):
    wait, back = rng.random(), rng.random() < 0.5
    c.take_over(others[0], fenced=True)
    time.sleep(wait)
    if back:
        c.take_over(o, fenced=True)


@fault("administrator: offline while writers run")
def offline(c, o, others, rng):
    wait, there = rng.random() * 0.3, rng.random() < 0.5
    c.offline(o, service=True)
    time.sleep(wait)
    c.take_over(o if there else others[0], fenced=False)


@fault("administrator: stop without the store")
def unreleased(c, o, others, rng):
    fenced, wait = rng.random() < 0.5, rng.random()
    o.disk(CUT)
    c.offline(o, "--timeout", "1s")
    c.take_over(others[0], fenced)
    time.sleep(wait)


@fault("administrator: move, with writers at work")
def move(c, o, others, rng):
    still = rng.random() < 0.5
    if not still and o.service:
        o.service.stop()
    rc, _, err = o.hf("move", R, others[0].name, "--timeout", "20s")
    if rc:
        # as to a node that was not seen to be up yet
        c.note("move: %d %s" % (rc, err))
    c.take_over(others[0], fenced=False, release=rc != 0)


def in_takeover(c, node, wait):
    t = threading.Thread(target=lambda: c.take(node, "--fenced"))
    t.start()
    time.sleep(wait)
    return t


@fault("daemon killed while it takes over")
def killed_in(c, o, others, rng):
    waits, where = [rng.random() * 0.15 for _ in range(2)], rng.random() < 0.5
    for w in waits:
        t = in_takeover(c, others[0], w)
        others[0].kill()
        t.join()
        c.start(others[0])
    c.take_over(others[0] if where else o, fenced=True)


@fault("node frozen while it takes over, thawed")
def frozen_in(c, o, others, rng):
    wait, back, late = rng.random() * 0.15, rng.random() < 0.5, rng.random()
    t = in_takeover(c, others[0], wait)
    others[0].freeze()
    c.take_over(o if back else others[-1] if others[-1] is not others[0] else o, fenced=True)
    time.sleep(late)
    others[0].thaw()
    t.join()
