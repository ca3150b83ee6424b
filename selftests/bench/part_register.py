# SPDX-License-Identifier: GPL-2.0-or-later
"""A hundred thousand files registered, until the first base is durable."""
import os
import lab as L


def register(lab, out, opt):
    """registering 100,000 files"""
    src = lab.fs('src', 2048)
    files = 100000
    size = lab.tree(src + '/t', files, mean=opt.register_mean, per=10)
    floor = lab.blank('floor.img', 768)
    a, = lab.cluster('g', ('a', src), mib=3072, areas=2)
    names = ['Holdfast', 'tar c | zstd -1']
    ms, memory = {n: [] for n in (names[0], '  until it is confirmed', names[1])}, []

    def archive():
        # into blocks that are there already, as the quorum disk's are
        L.shell('tar c -C "$A" t | zstd -1 -q -c | dd of="$B" bs=1M iflag=fullblock conv=notrunc,fsync status=none',
                env=dict(os.environ, A=src, B=floor))
    for rnd in out.rounds(opt):
        for what in L.shuffled(names, rnd):
            L.note(f'register, round {rnd}: {what}')
            if what != 'Holdfast':
                ms[what].append(L.timed(archive)[0])
                continue
            a.hf('resource', 'add', 'g')
            took = L.timed(lambda: (a.hf('checkpoint', 'add', 'g', '/t'), a.hf('online', 'g')))[0]
            ms['  until it is confirmed'].append(took)
            took += L.timed(L.until, lambda: any(g['base'] for g in a.json('history', 'g')['generations']), 60,
                            'the first base')[0]
            ms[what].append(took)
            memory.append(a.memory('VmHWM'))
            if rnd == 1:
                left = a.hf('diff', 'g').strip()
                if left:
                    raise L.Failed(f'the first generation is not the tree: {left[:300]}')
            a.hf('offline', 'g')
            a.hf('resource', 'delete', 'g', '--yes')
    mid = {n: L.middle(v) for n, v in ms.items()}
    us, tar = mid['Holdfast'], mid['tar c | zstd -1']
    out.table(f'{files:,} files in {files // 10:,} directories, {size // 1000000} MB, registered; first base durable',
              ['ms', 'least', 'to tar'], [[n, mid[n], min(ms[n]), mid[n] / tar] for n in ms])
    out.table('memory of the daemon', ['MiB'], [['most, with 100,000 files', max(memory)]])
    out.bars('register', f'{files:,} files registered, durable, ms (median of {len(ms["Holdfast"])})', mid)
    out.goal('registering 100,000 files: of tar c | zstd -1, durable', us / tar, '<=', 1.2)
    lab.end_cluster([a])
