#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Damages what was written to a disk's file since a copy of it was taken:
damage.py records|lost|contents COPY DISK. Records of logs, each of them; all from the first of them on, which is
zeros then; or contents, in the middle of the longest run. Says how much it was."""
import sys

SECTOR = 512
what, before, disk = sys.argv[1:]
with open(before, 'rb') as f:
    old = f.read()
with open(disk, 'rb') as f:
    new = f.read()
changed = [at for at in range(0, len(new), SECTOR) if new[at:at + SECTOR] != old[at:at + SECTOR]]
if what == 'records':
    hit = [at + 100 for at in changed if new[at:at + 4] == b'HFRC']
elif what == 'lost':
    first = min(at for at in changed if new[at:at + 4] == b'HFRC')
    hit = [at for at in changed if at >= first]
else:
    runs = []
    for at in changed:
        if runs and runs[-1][1] == at:
            runs[-1][1] = at + SECTOR
        else:
            runs.append([at, at + SECTOR])
    first, last = max(runs, key=lambda r: r[1] - r[0])
    hit = [(first + last) // 2]
with open(disk, 'r+b') as f:
    for at in hit:
        f.seek(at)
        f.write(bytes(SECTOR) if what == 'lost' else bytes(b ^ 0xff for b in new[at:at + 16]))
print(len(hit))
sys.exit(not hit)
