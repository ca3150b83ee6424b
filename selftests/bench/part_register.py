# SPDX-License-Identifier: GPL-2.0-or-later
"""A hundred thousand files registered, until the first base is durable."""
import os
import lab as L

FILES = 100000
ARCHIVE = 'tar c | zstd -1'


def measure(lab, out, opt, mean):
    src = lab.fs(f'src{mean}', 2048)
    size = lab.tree(src + '/t', FILES, mean=mean, per=10)
    floor = lab.blank(f'floor{mean}.img', 1024)
    a, = lab.cluster(f'g{mean}', ('a', src), mib=4096, areas=2)
    names = ['Holdfast', ARCHIVE]
    ms, memory = {n: [] for n in (names[0], '  until it is confirmed', names[1])}, []

    def archive():
        # into blocks that are there already, as the quorum disk's are
        L.shell('tar c -C "$A" t | zstd -1 -q -c | dd of="$B" bs=1M iflag=fullblock conv=notrunc,fsync status=none',
                env=dict(os.environ, A=src, B=floor))
    for rnd in out.rounds(opt):
        for what in L.shuffled(names, rnd):
            L.note(f'register, {mean} bytes each, round {rnd}: {what}')
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
    lab.end_cluster([a])
    mid = {n: L.middle(v) for n, v in ms.items()}
    out.table(f'{FILES:,} files of {mean // 1024} KiB in the mean, {size // 1000000} MB, registered; first base durable',
              ['ms', 'least', 'to tar'], [[n, mid[n], min(ms[n]), mid[n] / mid[ARCHIVE]] for n in ms])
    out.table('memory of the daemon', ['MiB'], [[f'most, with {FILES:,} files', max(memory)]])
    out.bars(f'register-{mean // 1024}k', f'{FILES:,} files of {mean // 1024} KiB registered, durable, ms '
             f'(median of {len(ms["Holdfast"])})', mid)
    return mid['Holdfast'] / mid[ARCHIVE]


def register(lab, out, opt):
    """registering 100,000 files in 10,000 directories"""
    ratio = measure(lab, out, opt, 8192)
    out.goal('registering 100,000 files: of tar c | zstd -1, durable', ratio, '<=', 1.2)
    measure(lab, out, opt, 2048)
