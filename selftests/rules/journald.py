#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Stands in for journald: takes what comes in at the socket argv[1], and writes each
message to argv[2] as one line of JSON."""
import json
import os
import socket
import sys


def fields(data):
    out = {}
    while data:
        line, _, data = data.partition(b'\n')
        if b'=' in line:
            k, _, v = line.partition(b'=')
        else:
            k, n = line, int.from_bytes(data[:8], 'little')
            v, data = data[8:8 + n], data[8 + n + 1:]
        if k:
            out[k.decode()] = v.decode('utf-8', 'replace')
    return out


def main():
    s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    if os.path.exists(sys.argv[1]):
        os.unlink(sys.argv[1])
    s.bind(sys.argv[1])
    with open(sys.argv[2], 'a', buffering=1, encoding='utf-8') as f:
        while True:
            data, anc, _, _ = s.recvmsg(1 << 20, 4096)
            for level, kind, fd in anc:
                if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                    fd = int.from_bytes(fd[:4], sys.byteorder)
                    data = os.pread(fd, 1 << 20, 0)
                    os.close(fd)
            f.write(json.dumps(fields(data)) + '\n')


main()
