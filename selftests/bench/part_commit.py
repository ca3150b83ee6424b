# SPDX-License-Identifier: GPL-2.0-or-later
"""From a change until it is confirmed: alone, in a burst, and in trees of several sizes."""
import os
import random
import socket
import threading
import time
import lab as L

NAMES = {'confirmed': 'close (rename) to confirmed', 'floor': 'the floor', 'event': '  the call, and its fanotify event',
         'range': '  sync_file_range of the file', 'write': '  4 KiB O_DIRECT|O_DSYNC write',
         'read': '  96 KiB direct read (a row of claims)', 'mirror': 'lsyncd -direct -delay 0, not durable'}


def lsyncd(lab, mode, src, dst):
    p = lab.spawn('lsyncd', '-nodaemon', '-delay', 0, '-logfile', lab.path('lsyncd.log'), mode, src, dst,
                  stdout=open(lab.path('lsyncd.out'), 'ab'), stderr=open(lab.path('lsyncd.out'), 'ab'))
    time.sleep(0.3)
    probe = f'{src}/{sorted(os.listdir(src))[0]}/probe'
    for _ in range(40):         # it watches only after a start of its own
        with open(probe, 'w', encoding='ascii') as f:
            f.write('is anybody there?\n')
        time.sleep(0.25)
        if os.path.exists(dst + probe[len(src):]):
            break
    else:
        raise L.Failed('lsyncd mirrors nothing')
    os.unlink(probe)
    time.sleep(1)
    return p


def order(got):
    return [(k, got[k]) for k in NAMES if k in got]


def spaced(lab, out, opt):
    """close to confirmed, changes 25 ms and more apart"""
    a, = lab.cluster('c', ('a',), mib=256)
    tree, floor = a.root + '/t', lab.path('floor')
    os.mkdir(floor)
    disk = lab.blank('floor.img', 16)
    lab.tree(tree, 1000)
    a.hf('resource', 'add', 'c')
    a.hf('checkpoint', 'add', 'c', '/t')
    a.hf('online', 'c')
    mirror, p = [], None
    if L.have('lsyncd'):
        for d in ('from', 'to'):
            L.run('cp', '-a', tree, lab.path(d))
        mirror = ['mirror', lab.path('from'), lab.path('to')]
        p = lsyncd(lab, '-direct', *mirror[1:])
    time.sleep(1)
    for kind, how in (('written in place', []), ('a new file, renamed', ['rename'])):
        L.note(f'commit: {opt.count} changes, {kind}')
        got = {}
        for line in L.run(L.BIN + 'bench_commit', a.sock, 'c', tree, floor, disk, opt.count, opt.seed + len(how),
                          *how, *mirror).splitlines():
            name, *v = line.split()
            got[name] = [int(x) / 1000 for x in v]
        out.table(f'{opt.count} changes among 1,000 files, {kind}, ms', ['p50', 'p95', 'p99'],
                  [[NAMES[k]] + [L.percentile(v, p) for p in (50, 95, 99)] for k, v in order(got)])
        p50 = {k: L.percentile(v, 50) for k, v in got.items()}
        out.bars('commit-' + (how[0] if how else 'in-place'), f'close to confirmed, {kind}, ms (p50 of {opt.count})',
                 {NAMES[k].strip(): v for k, v in p50.items()})
        out.goal(f'{kind}: p50 to confirmed, of the floor', p50['confirmed'] / p50['floor'], '<=', 1.5)
        if mirror:
            out.goal(f'{kind}: times as fast as lsyncd', p50['mirror'] / p50['confirmed'], '>=', 6)
    if p:
        lab.end(p)
    a.hf('sync', 'c')
    left = a.hf('diff', 'c').strip()
    if left:
        raise L.Failed(f'the newest generation is not what was written: {left[:300]}')
    lab.end_cluster([a])


class Commits(threading.Thread):
    """When the last commit of a resource was told."""

    def __init__(self, node, resource):
        super().__init__(daemon=True)
        self.s = socket.socket(socket.AF_UNIX)
        self.s.connect(node.sock)
        self.s.sendall(b'{"v":1,"verb":"watch","args":{"resource":"%s"}}\n' % resource.encode())
        self.last = 0
        self.start()

    def run(self):
        rest = b''
        while True:
            try:
                got = self.s.recv(1 << 20)
            except OSError:
                return
            if not got:
                return
            if b'"commit"' in rest + got:
                self.last = time.monotonic_ns()
            rest = got[-16:]

    def end(self):
        self.s.shutdown(socket.SHUT_RDWR)
        self.join()
        self.s.close()


def burst(lab, out, opt):
    """a burst of 10,000 creations in 1,000 directories"""
    lab.fs('src', 1536)
    model = lab.fs('model', 256) + '/t'      # not on the filesystem of the quorum disk: to remove it takes long there
    size = lab.tree(model, 10000, per=10)
    a, = lab.cluster('b', ('a', lab.path('src') + '/a'), mib=1024, areas=2)
    names = ['Holdfast, nobody asks', 'Holdfast, sync --quick', 'cp -a', 'cp -a, sync -f']
    if opt.peers and L.have('lsyncd'):
        names.append('lsyncd -rsync -delay 0')
    ms, whole, wrote, peak, fuzzy = {n: [] for n in names}, [], [], 0, 0
    n = 0
    for rnd in out.rounds(opt):
        src = lab.fresh('src')
        for what in L.shuffled(names, rnd):
            L.note(f'burst, round {rnd}: {what}')
            n += 1
            root, d = src + '/a', f'{src}/a/t{n}'
            os.makedirs(root, exist_ok=True)
            if what.startswith('cp'):
                L.run('cp', '-a', model, src + f'/model{n}')
                L.run('sync', '-f', src)
                end = ' && sync -f "$B"' if 'sync' in what else ''
                ms[what].append(L.timed(L.shell, 'cp -a "$A" "$B"' + end,
                                        env=dict(os.environ, A=src + f'/model{n}', B=src + f'/copy{n}'))[0])
                continue
            for i in range(1000):
                os.makedirs(f'{d}/d{i:03}')
            if what.startswith('lsyncd'):
                L.run('cp', '-a', d, src + '/mirror')
                p = lsyncd(lab, '-rsync', d, src + '/mirror')
                end = create(model, d)[1]
                L.until(lambda: sum(len(f) for _, _, f in os.walk(src + '/mirror')) >= 10000, 120, what)
                ms[what].append((time.monotonic_ns() - end) / 1e6)
                lab.end(p)
                continue
            name = f'b{n}'
            a.hf('resource', 'add', name)
            a.hf('checkpoint', 'add', name, f'/t{n}')
            a.hf('online', name)
            L.run('sync', '-f', src)
            time.sleep(1)
            a.kill()
            a.start()           # its peak begins anew
            told = Commits(a, name) if what.endswith('asks') else None
            gen = a.status(name)['generation']
            begin, end = create(model, d)
            if told:
                quiet(a, name, told)
                took = (told.last - end) / 1e6
                told.end()
                whole.append((told.last - begin) / 1e6)
            else:
                a.hf('sync', '--quick', name)
                took = (time.monotonic_ns() - end) / 1e6
            wrote.append((end - begin) / 1e6)
            ms[what].append(took)
            peak = max(peak, a.memory('VmHWM'))
            now = a.status(name)
            a.hf('sync', name)
            after = a.status(name)['generation']
            if after != now['generation']:
                raise L.Failed(f'{what}: sync found more: generation {after} after {now["generation"]}')
            fuzzy += sum(not g['consistent'] for g in a.json('history', name)['generations'] if g['generation'] > gen)
            left = a.hf('diff', name).strip()
            if not left and rnd == 1:
                a.hf('restore', name, '--generation', after, '--to', f'{src}/restored{n}')
                left = L.differences(d, f'{src}/restored{n}/t{n}')
            if left:
                raise L.Failed(f'{what}: lost something: {left}')
            a.hf('offline', name)
            a.hf('resource', 'delete', name, '--yes')
    mid = {k: L.middle(v) for k, v in ms.items()}
    cp = mid['cp -a']
    out.table(f'10,000 files, {size // 1000000} MB, created in 1,000 directories; from the last one until it is equal',
              ['ms', 'least', 'to cp -a'], [[k, v, min(ms[k]), v / cp] for k, v in mid.items()])
    out.table('of these', ['median'], [['creating them, beside the daemon, ms', L.middle(wrote)],
                                       ['from the first one until the store is equal, ms', L.middle(whole)],
                                       ['most memory of the daemon, MiB', peak],
                                       ['generations that were fuzzy, in all rounds', fuzzy]])
    out.bars('burst', f'10,000 creations: from the last until all is equal, ms (median of {len(ms["cp -a"])})', mid)
    out.goal('burst: the store equals the tree, of cp -a', mid[names[0]] / cp, '<=', 1.5)
    out.goal('burst: memory of the daemon, MiB', peak, '<', 64)
    lab.end_cluster([a])


def create(model, d):
    return [int(x) for x in L.run(L.BIN + 'bench_create', model, d, 'burst').split()]


def quiet(a, name, told):
    """Until nothing is dirty, and nothing was committed for a while."""
    def idle():
        s = a.status(name)
        return not s['dirty'] and s['confirmed'] == s['generation'] and time.monotonic_ns() - told.last > 1000000000
    L.until(lambda: told.last, 60, 'the first commit')
    end = time.monotonic() + 120
    while not idle():
        if time.monotonic() > end:
            raise L.Failed('the burst is not committed within 120 s')
        time.sleep(0.5)


def growth(lab, out, opt):
    """commit after 10 files changed, in trees of 1,000, 10,000 and 100,000 files"""
    src = lab.fs('src', 2048)
    sizes = (1000, 10000, 100000)
    for s in sizes:
        lab.tree(f'{src}/t{s}', s, mean=2048)
    a, = lab.cluster('s', ('a', src), mib=3072, areas=2)
    files = {}
    for s in sizes:
        a.hf('resource', 'add', f's{s}')
        a.hf('checkpoint', 'add', f's{s}', f'/t{s}')
        a.hf('online', f's{s}')
        files[s] = sorted(os.path.join(d, f) for d, _, names in os.walk(f'{src}/t{s}') for f in names)

    def based(s):
        return any(g['base'] for g in a.json('history', f's{s}')['generations'])
    L.until(lambda: all(based(s) for s in sizes), 60, 'the first bases')
    ms, cpu, wrote = ({s: [] for s in sizes} for _ in range(3))
    for rnd in out.rounds(opt, 5):
        for s in L.shuffled(sizes, rnd):
            L.note(f'growth, round {rnd}: {s}')
            some = random.Random(rnd).sample(files[s], 10)
            time.sleep(0.2)
            c, w = a.cpu_ms(), written(a)
            t = time.perf_counter_ns()
            for f in some:
                with open(f, 'r+b', buffering=0) as o:
                    o.write(b'# changed in round %d\n' % rnd)
            a.hf('sync', '--quick', f's{s}')
            ms[s].append((time.perf_counter_ns() - t) / 1e6)
            cpu[s].append(a.cpu_ms() - c)
            wrote[s].append((written(a) - w) / 1024)
    out.table('10 files changed, until they are confirmed (sync --quick)',
              ['ms', 'least', 'CPU ms', 'KiB written', 'to the least'],
              [[f'tree of {s:,} files', L.middle(ms[s]), min(ms[s]), L.middle(cpu[s]), L.middle(wrote[s]),
                L.middle(ms[s]) / L.middle(ms[1000])] for s in sizes])
    out.lines('growth', f'10 files changed, until confirmed, by files in the tree (median of {len(ms[1000])})', list(sizes),
              {'ms': [L.middle(ms[s]) for s in sizes], 'CPU of the daemon, ms': [L.middle(cpu[s]) for s in sizes]})
    out.goal('10 changes: among 100,000 files, of among 1,000', L.middle(ms[100000]) / L.middle(ms[1000]), '<=', 1.2)
    lab.end_cluster([a])


def written(node):
    with open(f'/proc/{node.proc.pid}/io', encoding='ascii') as f:
        return next(int(line.split()[1]) for line in f if line.startswith('write_bytes'))


def idle(lab, out, opt):
    """sync with nothing to do, and memory with 10,000 files"""
    src = lab.fs('src', 512)
    a, = lab.cluster('i', ('a', src), mib=1024)
    lab.tree(src + '/t', 10000)
    none = a.memory()
    a.hf('resource', 'add', 'i')
    a.hf('checkpoint', 'add', 'i', '/t')
    a.hf('online', 'i')
    seeded = a.memory()
    for d in os.listdir(src + '/t'):
        for f in os.listdir(f'{src}/t/{d}')[::10]:
            with open(f'{src}/t/{d}/{f}', 'ab') as o:
                o.write(b'changed\n')
    a.hf('sync', 'i')
    time.sleep(1)
    changed, peak = a.memory(), a.memory('VmHWM')
    ms = {'holdfast sync': [], 'holdfast sync --quick': [], 'getdents and statx of all': []}
    for _ in out.rounds(opt, 4):
        ms['holdfast sync'].append(a.timed('sync', 'i')[0])
        ms['holdfast sync --quick'].append(a.timed('sync', '--quick', 'i')[0])
        ms['getdents and statx of all'].append(int(L.run(L.BIN + 'bench_scan', src + '/t').split()[1]) / 1000)
    out.table('10,000 files, nothing changed, ms', ['ms', 'least'], [[k, L.middle(v), min(v)] for k, v in ms.items()])
    out.table('memory of the daemon, MiB', ['VmRSS', 'peak'],
              [['no tree', none, ''], ['10,000 files, just seeded', seeded, ''],
               ['10,000 files, 1,000 of them changed', changed, peak]])
    out.goal('memory with 10,000 files, MiB', max(seeded, changed), '<', 32)
    lab.end_cluster([a])
