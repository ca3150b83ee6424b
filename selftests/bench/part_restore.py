# SPDX-License-Identifier: GPL-2.0-or-later
"""Ten thousand files put into an empty directory, durably; and the one percent that differs."""
import os
import lab as L
from peers import Csync2, archives, restorers


def seed(a, name, path='/t'):
    a.hf('resource', 'add', name)
    a.hf('checkpoint', 'add', name, path)
    a.hf('online', name)


def hand_over(owner, to, name, warm=True):
    """Put offline where it is; then the other node knows it, and stands by if it does."""
    owner.hf('sync', name)
    gen = owner.status(name)['generation']
    owner.hf('offline', name)
    to.wait_known(name)
    if warm:
        to.wait_warm(name, gen)


def split(answer, wall):
    """Where the time of a takeover went, in ms: what the daemon says, and the rest. What is
    indented is part of what stands above it."""
    ms, us = answer['ms'], {k: v / 1000 for k, v in answer['us'].items()}
    restored = sum(us[k] for k in ('compare', 'keep', 'write', 'sync'))
    return {'claim': ms['claim'], '  reading the log': us['claim_read'], 'track': ms['track'],
            'compare': us['compare'], 'keep aside': us['keep'], 'write': us['write'],
            '  reading contents (all of the restore)': us['restore_read'], 'sync': us['sync'],
            'marks, kept-aside copies': max(0.0, ms['restore'] - restored),
            'journal, confirm': ms['total'] - ms['claim'] - ms['track'] - ms['restore'],
            'command and answer': wall - ms['total']}


def empty(lab, out, opt):
    """restore of 10,000 files into an empty directory"""
    src, dst = lab.fs('src', 512), lab.fs('dst', 1536)
    rate = {'rate': '1GiB'}         # so that nobody waits for a standby; a takeover is not held back by it
    a, b, c = lab.cluster('r', ('a', src), ('b', dst + '/b'), ('c', dst + '/c'), mib=1536)
    for n, more in ((b, rate), (c, {'memory': '0'})):
        with open(n.dir + '/holdfast.conf', 'a', encoding='ascii') as f:
            f.writelines(f'{k} = {v}\n' for k, v in more.items())
        n.kill()
        n.start()
    tree = src + '/t'
    size = lab.tree(tree, 10000, mixed=True)
    peers = restorers(archives(lab, tree, opt.peers), tree)
    floor = {'floor': [], 'floor, bare': ['bare']}
    names = ['Holdfast, standby', 'Holdfast, cold'] + list(floor) + list(peers)
    ms, parts, differ = {n: [] for n in names}, {}, {}

    for rnd in out.rounds(opt):
        lab.fresh('dst')
        name = f'r{rnd}'
        seed(a, name)
        owner = a
        for what in L.shuffled(names, rnd):
            L.note(f'restore, round {rnd}: {what}')
            d = f'{dst}/{what.replace(" ", "-")}'
            if what.startswith('Holdfast'):
                node = b if what.endswith('standby') else c
                d = node.root + '/t'
                os.makedirs(d)
                hand_over(owner, node, name, node is b)
                L.run('sync', '-f', dst)
                took, answer = node.timed('online', name)
                owner = node
                for k, v in split(answer, took).items():
                    parts.setdefault(what, {}).setdefault(k, []).append(v)
            else:
                os.makedirs(d)
                L.run('sync', '-f', dst)
                if what in floor:
                    took = int(L.run(L.BIN + 'bench_create', tree, d, *floor[what]).split()[1]) / 1000
                else:
                    took = L.timed(lambda w=what, x=d: (peers[w](x), L.run('sync', '-f', x)))[0]
            ms[what].append(took)
            if what not in differ and what != 'floor, bare':
                differ[what] = L.differences(tree, d)
                if what.startswith('Holdfast') and differ[what]:
                    raise L.Failed(f'restored something else: {differ[what]}')
        owner.hf('offline', name)
        a.hf('resource', 'delete', name, '--yes')

    mid = {n: L.middle(v) for n, v in ms.items()}
    us = mid['Holdfast, standby']
    out.table(f'10,000 names, {size // 1000000} MB, into an empty directory, durable',
              ['ms', 'least', 'to the floor', 'not exact'],
              [[n, mid[n], min(ms[n]), mid[n] / mid['floor'], 'yes' if differ.get(n) else ''] for n in names])
    where(out, parts)
    out.bars('restore', f'10,000 files into an empty directory, durable, ms (median of {len(ms["floor"])})', mid)
    out.goal('restore: faster than tar x, sync -f', us / mid['tar'], '<', 1)
    out.goal('restore: faster than cp -a, sync -f', us / mid['cp'], '<', 1)
    out.goal('restore: of the floor, the bare durable creation', us / mid['floor'], '<=', 1.2)
    lab.end_cluster([a, b, c])


def where(out, parts):
    for what, p in parts.items():
        out.table(f'where the time goes: {what}', ['ms'], [[k, L.middle(v)] for k, v in p.items()])


def edit(tree, rnd):
    """One percent of ten thousand: 60 with other contents, 20 go, 20 come."""
    files = sorted(os.path.join(d, f) for d, _, names in os.walk(tree) for f in names)
    plain = [f for f in files if not os.path.islink(f) and os.stat(f).st_nlink == 1 and os.path.getsize(f) < L.MIB]
    pick = L.shuffled(plain, rnd)
    for f in pick[:60]:
        with open(f, 'r+b') as o:
            o.write(b'# changed in round %d, %d\n' % (rnd, os.getpid()))
    for f in pick[60:80]:
        os.unlink(f)
    for f in pick[80:100]:
        with open(f'{f}.new{rnd}', 'wb') as o:
            o.write(b'new = %d\n' % rnd * 400)


def differs(lab, out, opt):
    """restore when 1% differs"""
    src, dst = lab.fs('src', 768), lab.fs('dst', 768)
    a, b = lab.cluster('d', ('a', src, ), ('b', dst), mib=1536)
    for n in (a, b):
        with open(n.dir + '/holdfast.conf', 'a', encoding='ascii') as f:
            f.write('rate = 1GiB\n')
        n.kill()
        n.start()
    lab.tree(src + '/t', 10000, mixed=True)
    # beside it, with the same contents: what the peers bring up to date
    L.run('cp', '-a', src + '/t', src + '/copy')
    L.run('cp', '-a', src + '/t', dst + '/copy')
    os.mkdir(dst + '/t')
    seed(a, 'd')
    owner, other = a, b
    hand_over(owner, other, 'd')
    other.hf('online', 'd')
    owner, other = b, a
    hand_over(owner, other, 'd')
    other.hf('online', 'd')
    owner, other = a, b
    names = ['Holdfast, standby', 'rsync -aHAXS --delete', 'floor']
    csync2 = None
    if opt.peers and L.have('csync2'):
        L.note('differs: csync2 takes up its trees')
        for d in (src, dst):
            L.run('cp', '-a', src + '/t', d + '/csync2')
        csync2 = Csync2(lab, src + '/csync2', dst + '/csync2')
        csync2.update()
        names.append('csync2 -xr')
    ms, parts = {n: [] for n in names}, {}

    for rnd in out.rounds(opt):
        edit(owner.root + '/t', rnd)
        hand_over(owner, other, 'd')
        for what in L.shuffled(names, rnd):
            L.note(f'differs, round {rnd}: {what}')
            L.run('sync', '-f', other.root)
            if what.startswith('Holdfast'):
                took, answer = other.timed('online', 'd')
                for k, v in split(answer, took).items():
                    parts.setdefault(what, {}).setdefault(k, []).append(v)
            elif what == 'csync2 -xr':
                L.run('rsync', '-aHAXS', '--delete', owner.root + '/t/', src + '/csync2/')
                took = L.timed(csync2.update)[0]
            elif what == 'floor':
                took = int(L.run(L.BIN + 'bench_scan', other.root + '/t').split()[1]) / 1000
            else:
                took = L.timed(L.shell, 'rsync -aHAXS --delete "$A/" "$B/" && sync -f "$B"',
                               env=dict(os.environ, A=owner.root + '/t', B=other.root + '/copy'))[0]
            ms[what].append(took)
        L.must_equal(owner.root + '/t', other.root + '/t', 'restored something else')
        # the copy on the other side follows, for the next round
        L.run('rsync', '-aHAXS', '--delete', other.root + '/t/', owner.root + '/copy/')
        owner, other = other, owner

    mid = {n: L.middle(v) for n, v in ms.items()}
    if csync2:
        lab.end(csync2.server)
    mid['getdents and statx of all'] = mid.pop('floor')
    ms['getdents and statx of all'] = ms.pop('floor')
    us, rsync = mid['Holdfast, standby'], mid['rsync -aHAXS --delete']
    out.table('1 % of 10,000 differs (60 contents, 20 missing, 20 extra), durable', ['ms', 'least', 'to rsync'],
              [[n, mid[n], min(ms[n]), mid[n] / rsync] for n in mid])
    where(out, parts)
    out.bars('differs', f'1 % of 10,000 files differs, durable, ms (median of {len(ms["rsync -aHAXS --delete"])})', mid)
    out.goal('restore when 1 % differs: of rsync -aHAXS', us / rsync, '<=', 0.25)
    lab.end_cluster([a, b])


def takeover(lab, out, opt):
    """takeover when nothing differs"""
    src, dst = lab.fs('src', 512), lab.fs('dst', 512)
    a, b = lab.cluster('w', ('a', src), ('b', dst), mib=1536)
    for n in (a, b):
        with open(n.dir + '/holdfast.conf', 'a', encoding='ascii') as f:
            f.write('rate = 1GiB\n')
        n.kill()
        n.start()
    lab.tree(src + '/t', 10000, mixed=True)
    os.mkdir(dst + '/t')
    seed(a, 'w')
    owner, other = a, b
    for _ in range(2):
        hand_over(owner, other, 'w')
        other.hf('online', 'w')
        owner, other = other, owner
    took, scans, inner, parts = [], [], [], {}

    def scan():
        return [int(L.run(L.BIN + 'bench_scan', other.root + '/t').split()[1]) / 1000 for _ in range(3)]
    for rnd in out.rounds(opt, 3):
        L.note(f'takeover, round {rnd}')
        hand_over(owner, other, 'w')
        before = scan()
        t, answer = other.timed('online', 'w')
        scans.append(L.middle(before + scan()))
        took.append(t)
        inner.append(answer['ms']['total'])
        for k, v in split(answer, t).items():
            parts.setdefault('takeover, standby', {}).setdefault(k, []).append(v)
        if answer['restored']['written'] or answer['restored']['meta']:
            raise L.Failed(f'nothing differs, and yet: {answer["restored"]}')
        owner, other = other, owner
    L.must_equal(a.root + '/t', b.root + '/t', 'taken over something else')
    us, floor = L.middle(took), L.middle(scans)
    out.table('takeover by a standby, nothing differs, 10,000 names', ['ms', 'least', 'to the scan'],
              [['holdfast online, the whole command', us, min(took), us / floor],
               ['  in the daemon', L.middle(inner), min(inner), L.middle(inner) / floor],
               ['getdents and statx of all', floor, min(scans), 1]])
    where(out, parts)
    out.bars('takeover', f'takeover by a standby, nothing differs, ms (median of {len(took)})',
              {'whole command': us, 'getdents and statx': floor,
              **{k.strip(): v for k, v in L.middle_of(parts['takeover, standby']).items() if not k.startswith(' ')}})
    out.goal('warm takeover, nothing differs: of one getdents and statx', us / floor, '<=', 1.5)
    lab.end_cluster([a, b])
