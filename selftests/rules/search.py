# SPDX-License-Identifier: GPL-2.0-or-later
"""search.py [-m] SECRETS WHERE...: look for pieces of the files below SECRETS in WHERE, files or directories.

With -m a core file's memory is looked through, not the registers: what a thread copied last may be in those.
Every file is cut into pieces of 24 bytes at eight places, and each piece that could not be something
else by chance (it has at least ten different bytes) is looked for, as it is, in hex, and in base64; with -m,
of the memory of a process, at two places, as it is.
Exit 0: nothing was found. Prints what was, and how many pieces there were.
"""
import base64
import mmap
import os
import struct
import sys

PIECE = 24


def files(top):
    if os.path.isfile(top) and not os.path.islink(top):
        yield top
    for d, _, names in os.walk(top):
        for n in names:
            p = os.path.join(d, n)
            if os.path.isfile(p) and not os.path.islink(p):
                yield p


def pieces(top, memory):
    out = {}
    parts = 2 if memory else 8
    for f in files(top):
        data = open(f, 'rb').read()
        step = max(1, (len(data) - PIECE) // (parts + 1))
        for at in list(range(step, max(1, len(data) - PIECE + 1), step)):
            p = data[at:at + PIECE]
            if len(set(p)) < 10:
                continue
            for form in (p,) if memory else (p, p.hex().encode(), base64.b64encode(p)):
                out.setdefault(form, f'{f} at {at}')
    return out


def parts_of(m, memory):
    """(from, to) in m: all of it, or the PT_LOAD segments of a core file."""
    if not memory or m[:4] != b'\x7fELF':
        return [(0, len(m))]
    at, size, n = struct.unpack_from('<Q', m, 32)[0], *struct.unpack_from('<HH', m, 54)
    heads = (struct.unpack_from('<IIQQQQ', m, at + i * size) for i in range(n))
    return [(h[2], h[2] + h[5]) for h in heads if h[0] == 1 and h[5]]


def main():
    memory = sys.argv[1] == '-m'
    args = sys.argv[2 if memory else 1:]
    need = pieces(args[0], memory)
    looked = found = 0
    for where in args[1:]:
        for f in files(where):
            if not os.path.getsize(f):
                continue
            with open(f, 'rb') as fd, mmap.mmap(fd.fileno(), 0, access=mmap.ACCESS_READ) as m:
                for start, end in parts_of(m, memory):
                    looked += end - start
                    for p, what in need.items():
                        at = m.find(p, start, end)
                        if at >= 0:
                            found += 1
                            print(f'{f}: at {at} there is {what}')
    print(f'{len(need)} pieces, {looked} bytes looked through, {found} found')
    return 1 if found or not need or not looked else 0


sys.exit(main())
