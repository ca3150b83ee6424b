#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Looks for secrets in the memory of a process that runs.

memory.py PID KEYFILE [TEXT...]: prints as JSON how often the master key, its hexadecimal
text and each key that is derived from it (Documentation/ondisk.rst, Keys) are found where a core dump
would take them (`dumped`), and on pages that it would not (`kept`); the flags
of the latter's pages and of their neighbours; for each TEXT the number of places
that could be swapped.
"""
import hashlib
import json
import re
import sys

CHUNK = 1 << 22


def secrets(path):
    text = open(path, 'rb').read().strip()
    master = bytes.fromhex(text.decode())
    out = {'master': master, 'hex': text}
    for i, name in ((1, 'aead'), (2, 'mac'), (3, 'hash'), (4, 'local')):
        out[name] = hashlib.blake2b(b'', digest_size=32, key=master, salt=i.to_bytes(8, 'little') + bytes(8),
                                    person=b'holdfast' + bytes(8)).digest()
    return out


def maps(pid):
    """Each mapping: from, to, mode, name, flags as smaps has them."""
    out = []
    for line in open(f'/proc/{pid}/smaps'):
        m = re.match(r'([0-9a-f]+)-([0-9a-f]+) (\S+) \S+ \S+ \S+ *(.*)', line)
        if m:
            out.append({'from': int(m[1], 16), 'to': int(m[2], 16), 'mode': m[3], 'name': m[4], 'flags': []})
        elif line.startswith('VmFlags:'):
            out[-1]['flags'] = line.split()[1:]
    return out


def find(mem, m, words):
    n = {k: 0 for k in words}
    longest = max(len(w) for w in words.values())
    tail = b''
    at = m['from']
    while at < m['to']:
        try:
            mem.seek(at)
            b = mem.read(min(CHUNK, m['to'] - at))
        except (OSError, ValueError):
            break
        if not b:
            break
        at += len(b)
        both = tail + b
        for k, w in words.items():
            n[k] += both.count(w) - tail.count(w)
        tail = both[-(longest - 1):]
    return n


def main():
    pid, keyfile, texts = sys.argv[1], sys.argv[2], sys.argv[3:]
    words = secrets(keyfile)
    plain = {t: t.encode() for t in texts}
    out = {'dumped': {k: 0 for k in words}, 'kept': {k: 0 for k in words}, 'pages': [], 'swappable': {t: 0 for t in texts},
           'seen': {t: 0 for t in texts}}
    all_maps = maps(pid)
    with open(f'/proc/{pid}/mem', 'rb', buffering=0) as mem:
        for i, m in enumerate(all_maps):
            if not m['mode'].startswith('r') or m['name'] in ('[vvar]', '[vsyscall]', '[vvar_vclock]'):
                continue
            n = find(mem, m, {**words, **plain})
            where = out['kept'] if 'dd' in m['flags'] else out['dumped']
            for k in words:
                where[k] += n[k]
                if n[k] and 'dd' not in m['flags']:
                    out.setdefault('where', []).append((k, m['name'], m['mode']))
            if 'dd' in m['flags'] and any(n[k] for k in words):
                around = [all_maps[j]['mode'] for j in (i - 1, i + 1) if 0 <= j < len(all_maps)]
                out['pages'].append({'mode': m['mode'], 'flags': m['flags'], 'around': around})
            for t in texts:
                out['seen'][t] += n[t]
                if 'lo' not in m['flags']:
                    out['swappable'][t] += n[t]
    print(json.dumps(out))


main()
