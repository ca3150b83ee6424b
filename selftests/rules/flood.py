# SPDX-License-Identifier: GPL-2.0-or-later
"""flood.py SOCKET PID: what a client may send, while others ask; PID is the daemon. Prints TAP-less lines "ok TEXT"
and "not ok TEXT" for bad_input.t."""
import json
import os
import random
import socket
import struct
import sys
import threading

PATH, PID = sys.argv[1], sys.argv[2]
GOOD = b'{"v":1,"verb":"ping"}\n'


def ok(good, text):
    print(('ok ' if good else 'not ok ') + text, flush=True)


def connect():
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(20)
    s.connect(PATH)
    return s


def answer(s):
    b = b''
    while not b.endswith(b'\n'):
        try:
            d = s.recv(65536)
        except ConnectionResetError:
            break
        if not d:
            break
        b += d
    return json.loads(b.splitlines()[0]) if b else None


def ask(raw):
    s = connect()
    try:
        s.sendall(raw)
    except (BrokenPipeError, ConnectionResetError):
        pass
    a = answer(s)
    s.close()
    return a


def serves():
    """Another client's request, as if nothing was."""
    a = ask(GOOD)
    return a is not None and a['exit'] == 0


def memory():
    for line in open(f'/proc/{PID}/status'):
        if line.startswith('VmRSS'):
            return int(line.split()[1]) >> 10
    return 0


def rubbish():
    rnd = random.Random(1)
    base = b'{"v":1,"verb":"online","args":{"resource":"keep","timeout_ms":5}}'
    bad = []
    for _ in range(300):
        bad.append(bytes(rnd.randrange(1, 256) for _ in range(rnd.randrange(1, 300))).replace(b'\n', b'?') + b'\n')
    for i in range(len(base)):
        bad.append(base[:i] + b'\n')
        bad.append(base[:i] + bytes([base[i] ^ 0x80]) + base[i + 1:] + b'\n')
    answers = [ask(b) for b in bad]
    ok(all(a and a['exit'] in (2, 3) and a.get('error') for a in answers), f'{len(bad)} kinds of rubbish are refused, each with a sentence')
    ok(serves(), 'and the next one is served')
    deep = [b'{"v":1,"verb":"status","args":' + b'{"a":' * 20000 + b'1' + b'}' * 20001 + b'\n',
            b'[' * 500000 + b'\n', b'"' + b'\\u0000' * 100000 + b'"\n', b'{"v":1e400,"verb":"ping"}\n',
            b'{"v":1,"verb":"ping","verb":"nope"}\n', b'{"v":1,"verb":"sync","args":{"resources":["' + b'x","' * 3000 + b'"]}}\n']
    ok(all((ask(b) or {'exit': 0})['exit'] == 2 for b in deep), 'nested, endless and repeated things too')


def halves():
    held = []
    for i in range(1, len(GOOD) - 1):
        s = connect()
        s.sendall(GOOD[:i])
        held.append(s)
    ok(serves(), 'half a message keeps nobody waiting')
    held[0].sendall(GOOD[1:])
    ok((answer(held[0]) or {'exit': 1})['exit'] == 0, 'its other half is answered when it comes')
    for i in range(200):
        s = connect()
        s.sendall(GOOD[:i % len(GOOD)])
        if i % 2:       # reset instead of an orderly end
            s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
        s.close()
    s = connect()
    s.sendall(GOOD[:5])
    s.shutdown(socket.SHUT_WR)
    ok(answer(s) is None, 'one that ends in the middle is let go')
    for h in held:
        h.close()
    ok(serves(), 'all is well')


def gigabyte():
    before = memory()
    block = b'x' * (1 << 20)
    s = connect()
    sent = 0
    try:
        for _ in range(1024):
            s.sendall(block)
            sent += len(block)
    except (BrokenPipeError, ConnectionResetError, TimeoutError):
        pass
    try:
        a = answer(s)
    except TimeoutError:
        a = None
    s.close()
    ok(sent < 16 << 20 and (a is None or a['exit'] == 2), f'a gigabyte is hung up on after {sent >> 20} MiB')
    # as lines, each of them as long as it may be
    s = connect()
    sent = 0
    line = b'{"v":1,"verb":"' + b'y' * 1000000 + b'"}\n'

    def drain():
        try:
            while s.recv(1 << 20):
                pass
        except OSError:
            pass
    t = threading.Thread(target=drain)
    t.start()
    try:
        for _ in range(1024):
            s.sendall(line)
            sent += len(line)
    except OSError:
        pass
    served = serves()
    try:
        s.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass
    t.join()
    s.close()
    ok(served, f'{sent >> 20} MiB of refused requests disturb nobody')
    ok(memory() - before < 64, f'and cost no memory ({before} to {memory()} MiB)')


def nothing_read():
    held = []
    for _ in range(20):
        s = connect()
        s.setblocking(False)
        try:
            for _ in range(2000):
                s.send(b'{"v":1,"verb":"status"}\n')
        except BlockingIOError:
            pass
        held.append(s)
    ok(serves(), 'who asks and does not read is waited for by nobody')
    for s in held:
        s.close()


def many():
    before = memory()
    held = []
    for _ in range(1000):
        try:
            held.append(connect())
        except OSError:
            break
    opened = len(held)
    ok(opened == 1000, '1,000 connections that say nothing')
    ok(serves(), 'the next client is served all the same')
    r, w = os.pipe()
    pid = os.fork()
    if not pid:         # another process, which asks a hundred times
        good = 0
        for _ in range(100):
            try:
                good += serves()
            except OSError:
                pass
        os.write(w, bytes([good]))
        os._exit(0)
    os.waitpid(pid, 0)
    ok(os.read(r, 1)[0] == 100, 'and so are a hundred requests of another process')
    fds = len(os.listdir(f'/proc/{PID}/fd'))
    ok(fds < 300 and memory() - before < 64, f'the daemon holds {fds} descriptors and {memory()} MiB')
    for s in held:
        s.close()
    ok(serves(), 'and goes on when they have gone')


def forks():
    """A thousand, of 25 processes."""
    r, w = os.pipe()
    go_r, go_w = os.pipe()
    pids = []
    for _ in range(25):
        pid = os.fork()
        if not pid:
            os.close(go_w)
            held = []
            for _ in range(40):
                try:
                    held.append(connect())
                except OSError:
                    pass
            os.write(w, b'.')
            os.read(go_r, 1)
            os._exit(0)
        pids.append(pid)
    for _ in pids:
        os.read(r, 1)
    served = 0
    for _ in range(40):         # those that were served a moment ago are not hung up on at once
        try:
            served += serves()
        except (OSError, ValueError):
            pass
        threading.Event().wait(0.1)
    os.close(go_w)
    for p in pids:
        os.waitpid(p, 0)
    ok(served >= 20, f'of 25 processes: others get through ({served} of 40 requests within four seconds)')


for what in rubbish, halves, gigabyte, nothing_read, many, forks:
    try:
        what()
    except Exception as e:      # noqa: a failure of the test is one
        ok(False, f'{what.__name__}: {type(e).__name__}: {e}')
