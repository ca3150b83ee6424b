#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Groups of generations (C45), as the second decoder finds them on the disk.

    c45_group.py DISK KEYFILE                       one line: COMPLETE INCOMPLETE
    c45_group.py DISK KEYFILE cut R1 R2...          for what `cut_writer across` wrote into /srv/RESOURCE of each, in
        this order: COMPLETE INCOMPLETE VIOLATED NEAR NEAR-VIOLATED. NEAR: generations that are neighbours in
        time and no group, each of them a cut by itself. What is wrong with a group is said before."""
import bisect
import json
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, '../store'))
sys.dont_write_bytecode = True

import decode  # noqa: E402


def group_of(attr):
    rd = decode.Reader(attr)
    decode.need((rd.num(2), rd.num(2)) == (1, 0), 'a version')
    gid, n, own = rd.take(16), rd.num(4), rd.num(4)
    members = [(rd.take(16), rd.num(8), rd.blob().decode()) for _ in range(n)]
    decode.need(not rd.more() and own < n, 'the end of a group')
    return gid, members, own


def generations(disk, claim):
    """generation: (when, fuzzy, files, group or None)"""
    out = {}

    def one(r, ep, note, items):
        if r['kind'] == 3 and r['gen'] in out:
            return
        group = None
        if b'&' in items:
            gid, members, own = group_of(items[b'&'][0])
            decode.need(members[own][0] == claim['log'], 'its own log')
            if members[own][1] == r['gen']:
                group = gid, members
        files = {k.split(b'/', 1)[1]: v for k, (a, v) in items.items() if b'/' in k and v}
        out[r['gen']] = (r['when'], bool(r['flags'] & 2), files, group)
    chain, at_base = disk.chain(claim, True)
    disk.walk(claim, chain, at_base, one)
    return out


def wrong(states):
    """Of one file each: the first is written first, the next change of it after the last one's."""
    n = [f.get(b'n') for f in states]
    if not all(v and len(v) == 17 for v in n):
        return None
    n = [int(v) for v in n]
    if n[0] >= n[-1] >= n[0] - 1 and n == sorted(n, reverse=True):
        return None
    return f'{n}'


def main():
    disk = decode.Disk(sys.argv[1], sys.argv[2])
    disk.all = True
    rows = {row: c for row in range(disk.sb['rows']) for c in disk.claims(row).values()}
    reg = disk.log(rows[0])['items']
    names = {json.loads(a)['uuid']: k[2:].decode() for k, (a, _) in reg.items() if k[:2] == b'r/'}
    logs = {c['log']: generations(disk, c) for row, c in rows.items() if row}
    by_name = {names.get(decode.guid(log)): g for log, g in logs.items()}
    complete, incomplete = {}, {}
    for gens in logs.values():
        for _, fuzzy, _, group in gens.values():
            if not group:
                continue
            decode.need(not fuzzy, 'no fuzzy one in a group')
            gid, members = group
            whole = all(log in logs and gen in logs[log] and logs[log][gen][3] == group for log, gen, _ in members)
            (complete if whole else incomplete)[gid] = members
    if len(sys.argv) == 3:
        print(len(complete), len(incomplete))
        return
    bad, near, near_bad = 0, 0, 0
    order = sys.argv[4:]
    for gid, members in complete.items():
        at = {name: logs[log][gen][2] for log, gen, name in members}
        what = wrong([at[name] for name in order]) if at.keys() == set(order) else None
        if what:
            bad += 1
            print(f'# group {gid.hex()[:8]}: {[(m[2], m[1]) for m in members]}: {what}')
    # that there are such shows that a cut of each by itself is not enough
    times = {name: sorted((w, f) for w, z, f, group in by_name[name].values() if not z and not group) for name in order}
    for when, files in times[order[0]]:
        states = [files]
        for name in order[1:]:
            i = bisect.bisect_left([w for w, _ in times[name]], when)
            if i < len(times[name]):
                states.append(times[name][i][1])
        if len(states) == len(order):
            near += 1
            near_bad += bool(wrong(states))
    print(len(complete), len(incomplete), bad, near, near_bad)


main()
