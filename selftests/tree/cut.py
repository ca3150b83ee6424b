#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Whether each generation is a cut (P3) through what cut_writer wrote.

    cut.py DISK KEYFILE RESOURCE=KIND...     for each, in the order of their rows, one line:
    RESOURCE GENERATIONS CONSISTENT FUZZY VIOLATED VIOLATED-FUZZY

and for each violation in a consistent one what is wrong. Reads all generations by the second decoder
(selftests/store/decode.py), so nothing of the daemon's own code says what is in them."""
import os
import shutil
import sqlite3
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, '../store'))
sys.dont_write_bytecode = True

import decode  # noqa: E402


class Broken(Exception):
    pass


def need(cond, what):
    if not cond:
        raise Broken(what)


def number(files, name):
    b = files[name]
    need(b and len(b) == 17, f'{name}: {b!r}')
    return int(b)


def counters(files, tmp):
    if not {'a', 'b', 'c'} <= files.keys():
        need('c' not in files or 'b' in files and 'a' in files, 'c before b or a')
        return
    a, b, c = (number(files, n) for n in 'abc')
    need(c <= b <= a <= c + 1 or c == 0, f'a {a}, b {b}, c {c}')


def mapped(files, tmp):
    if not all(len(files.get(n) or b'') == 8192 for n in 'ab') or len(files.get('c') or b'') != 17:
        return
    a = max(int.from_bytes(files['a'][at:at + 8], 'little') for at in (0, 4096))
    b, c = int.from_bytes(files['b'][:8], 'little'), number(files, 'c')
    need(c <= b <= a <= c + 1, f'a {a}, b {b}, c {c}')


def dirs(files, tmp):
    if not files.get('now'):     # not there, or not written yet
        return
    now = number(files, 'now')
    if now < 7:
        return
    files.pop('live/sub', None)     # a directory
    n = {number(files, f) for f in files if f.startswith('live/')}
    need(len(n) == 1, f'live has {sorted(n)}')
    have = sorted(f for f in files if f.startswith('live/'))
    live = n.pop()
    need(have == [f'live/f{i}-{live % 5}' for i in range(4)] + ['live/sub/f'], f'live has {have}')
    need(live in (now, now + 1), f'live {live}, now {now}')


def lay(files, tmp, names):
    for name in os.listdir(tmp):
        os.unlink(os.path.join(tmp, name))
    for name in names:
        if name in files:
            with open(os.path.join(tmp, name), 'wb') as f:
                f.write(files[name])


def sql(files, tmp):
    if 'now' not in files or 'db' not in files:
        return
    if len(files['now']) != 17:
        return
    now = number(files, 'now')
    lay(files, tmp, ('db', 'db-journal', 'db-wal', 'db-shm'))
    db = sqlite3.connect(os.path.join(tmp, 'db'))
    try:
        got = db.execute('PRAGMA integrity_check').fetchall()
        need(got == [('ok',)], f'integrity_check: {got}')
        need(db.execute('SELECT sum(v) FROM account').fetchone()[0] == 40000, 'the sum of all accounts')
        n = db.execute('SELECT n FROM t').fetchone()[0]
        need(n in (now, now + 1) or now == 0, f'n {n}, now {now}')
    except sqlite3.Error as e:
        raise Broken(f'sqlite: {e}') from None
    finally:
        db.close()


def trivial(files, tmp):
    import tdb
    if 'now' not in files or 'db.tdb' not in files or len(files['now']) != 17:
        return
    now = number(files, 'now')
    if not now:
        return
    lay(files, tmp, ('db.tdb',))
    try:
        t = tdb.Tdb(os.path.join(tmp, 'db.tdb'), 0, tdb.NOMMAP | tdb.NOLOCK, os.O_RDWR)
    except (OSError, RuntimeError) as e:
        raise Broken(f'tdb: {e}') from None
    try:
        n = {int(t[b'k%d' % i]) for i in range(10)}
        need(len(n) == 1, f'records of {sorted(n)}')
        n = n.pop()
        need(n in (now, now + 1), f'records {n}, now {now}')
    except (KeyError, ValueError, RuntimeError) as e:
        raise Broken(f'tdb: {e!r}') from None
    finally:
        t.close()


CHECKS = {'counters': counters, 'mapped': mapped, 'dirs': dirs, 'journal': sql, 'wal': sql,
          'tdb': trivial, 'tdb-nommap': trivial}


def look(disk, claim, kind, tmp):
    """(generation, fuzzy, what is wrong or None) of each."""
    out, seen = [], {}

    def generation(r, ep, note, items):
        if r['kind'] == 3 and out and out[-1][0] == r['gen']:
            return
        files = {k.decode('latin-1').split('/', 1)[1]: v for k, (a, v) in items.items() if b'/' in k and v is not None}
        wrong = None
        key = tuple(sorted(files.items()))
        if hash(key) not in seen:
            try:
                CHECKS[kind](files, tmp)
            except (Broken, KeyError) as e:
                wrong = str(e)
            seen.clear()
            seen[hash(key)] = wrong
        out.append((r['gen'], bool(r['flags'] & 2), seen[hash(key)]))
    chain, at_base = disk.chain(claim, True)
    disk.walk(claim, chain, at_base, generation)
    return out


def main():
    disk = decode.Disk(sys.argv[1], sys.argv[2])
    disk.all = True
    rows = [c for row in range(1, disk.sb['rows']) for c in disk.claims(row).values()]
    tmp = tempfile.mkdtemp()
    try:
        for claim, (name, kind) in zip(rows, (a.split('=') for a in sys.argv[3:])):
            gens = look(disk, claim, kind, tmp)
            bad = [g for g in gens if g[2] and not g[1]]
            for g in bad[:10]:
                print(f'# {name}: generation {g[0]}: {g[2]}')
            fuzzy = [g for g in gens if g[1]]
            print(name, len(gens), len(gens) - len(fuzzy), len(fuzzy), len(bad), sum(1 for g in fuzzy if g[2]))
    finally:
        shutil.rmtree(tmp)


main()
