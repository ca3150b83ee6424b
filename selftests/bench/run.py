#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Speed and memory, against what bounds or rivals them in the same run:
Documentation/performance.md says how, and what came out.

  PARTS='restore takeover'  only these (--list names them)
  GOALS=1     exit 1 where a goal is missed
  ROUNDS=5    of each part; LIMIT=120 seconds for one part's rounds; COUNT=200 changes; SEED=1
  PEERS=0     without casync, restic and borg
  PAGE=FILE   put tables and plots (SVG) of these parts into FILE, beside the others (Documentation/performance.md)
  KEEP=1      keep the work directory
"""
import datetime
import os
import sys
import time
import lab as L
import part_commit
import part_register
import part_restore
import plot

PARTS = {
    'commit': part_commit.spaced,
    'burst': part_commit.burst,
    'restore': part_restore.empty,
    'differs': part_restore.differs,
    'takeover': part_restore.takeover,
    'growth': part_commit.growth,
    'register': part_register.register,
    'idle': part_commit.idle,
}


class Options:
    rounds = int(os.environ.get('ROUNDS', 5))
    limit = float(os.environ.get('LIMIT', 120))
    count = int(os.environ.get('COUNT', 200))
    peers = os.environ.get('PEERS', '1') != '0'
    seed = int(os.environ.get('SEED', 1))


class Out:
    """What a part has to say."""

    def __init__(self, name, title):
        self.r = {'name': name, 'title': title, 'tables': [], 'goals': [], 'plots': [],
                  'when': datetime.datetime.now().strftime('%Y-%m-%d %H:%M')}
        self.load = [os.getloadavg()[0]]

    def rounds(self, opt, times=1):
        """1, 2, …: at least two, then until there are enough or the time is over."""
        end = time.monotonic() + opt.limit
        for i in range(1, opt.rounds * times + 1):
            if i > 2 and time.monotonic() > end:
                print(f'({self.r["name"]}: {i - 1} rounds of {opt.rounds * times} in {opt.limit:.0f} s)')
                return
            yield i

    def table(self, caption, columns, rows):
        self.r['tables'].append({'caption': caption, 'columns': columns, 'rows': rows})

    def bars(self, name, title, values):
        self.r['plots'].append({'name': name, 'title': title, 'bars': values})

    def lines(self, name, title, xs, series):
        self.r['plots'].append({'name': name, 'title': title, 'x': xs, 'lines': series})

    def goal(self, text, value, op, limit):
        met = {'<': value < limit, '<=': value <= limit, '>=': value >= limit}[op]
        self.r['goals'].append({'text': text, 'value': value, 'op': op, 'limit': limit, 'met': met})

    def done(self):
        L.note('')
        self.load.append(os.getloadavg()[0])
        self.r['load'] = self.load
        return self.r


def cell(v):
    if isinstance(v, float):
        return f'{v:.2f}' if abs(v) < 100 else f'{v:.0f}'
    return str(v)


def tables(r):
    lines = []
    for t in r['tables']:
        cells = [[cell(v) for v in row] for row in t['rows']]
        wide = max([len(t['caption'])] + [len(row[0]) for row in cells])
        for row in [[t['caption']] + t['columns']] + cells:
            lines.append((row[0].ljust(wide) + ''.join(c.rjust(max(11, len(n) + 2)) for c, n in zip(row[1:], t['columns']))).rstrip())
        lines.append('')
    return lines


def goals(r):
    return [
        f"  {g['text'] + ' (' + cell(float(g['value'])) + ', ' + g['op'] + ' ' + str(g['limit']) + ')':<80}"
        f" {'met' if g['met'] else 'MISSED'}" for g in r['goals']]


def main():
    if '--list' in sys.argv[1:]:
        for name, part in PARTS.items():
            print(f'{name:10} {part.__doc__}')
        return 0
    want = os.environ.get('PARTS', '').split() or list(PARTS)
    if set(want) - set(PARTS):
        sys.exit(f"bench: there is no part {' '.join(set(want) - set(PARTS))}; there are: {' '.join(PARTS)}")
    if os.geteuid():
        sys.exit('bench: run it as root')
    for p in ('rsync', 'mkfs.ext4', 'losetup', 'tar', 'zstd'):
        if not L.have(p):
            sys.exit(f'bench: {p} is missing; scripts/deps.sh bench installs it')
    for p in ('holdfastd', 'holdfast', 'selftests/bench/bench_create'):
        if not os.access(f'{L.BUILD}/{p}', os.X_OK):
            sys.exit(f'bench: there is no {L.BUILD}/{p}; make bench builds it')
    page, results, failed = os.environ.get('PAGE'), [], []
    for name in want:
        out = Out(name, PARTS[name].__doc__)
        lab = L.Lab(bool(os.environ.get('KEEP')))
        try:
            PARTS[name](lab, out, Options)
        except L.Failed as e:
            L.note('')
            print(f'bench: {name} failed: {e}', file=sys.stderr)
            failed.append(name)
            continue
        finally:
            lab.close()
        r = out.done()
        said = [f"{name}, {r['when']}, load {r['load'][0]:.1f} before, {r['load'][1]:.1f} after", ''] + tables(r)
        print('\n'.join(said), flush=True)
        results.append(r)
        if page:
            plot.keep(page, name, r['title'], '\n'.join(said + goals(r)), r['plots'])
    print('goals')
    for r in results:
        print('\n'.join(goals(r)))
    for name in failed:
        print(f'  {name}: failed, nothing was measured')
    missed = sum(not g['met'] for r in results for g in r['goals'])
    return 1 if failed or (missed and os.environ.get('GOALS')) else 0


if __name__ == '__main__':
    sys.exit(main())
