#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Who asks and does not read the answers takes no more than a bounded amount of memory, and gets all of them when he
# reads; nor does one that cannot be accepted take a processor.
# shellcheck disable=SC2034	# what lib.sh reads
. "$(dirname "$0")/lib.sh"
cluster a
up a; ok $? "a daemon"
for i in 1 2 3 4 5 6 7 8; do hf a resource add "r$i" >/dev/null; done
cat >"$tmp/ask.py" <<'EOP'
import select, socket, sys, time
N = 60000
s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[1])
def rss():
    for l in open("/proc/%s/status" % sys.argv[2]):
        if l.startswith("VmRSS:"):
            return int(l.split()[1])
before = rss()
line = b'{"v":1,"verb":"status"}\n'
todo, answers, most, since = line * N, 0, 0, time.time()
s.setblocking(False)
while todo and time.time() - since < 3:
    try:
        n = s.send(todo[:65536])
        todo = todo[n:]
        since = time.time()
    except BlockingIOError:
        time.sleep(0.01)
    most = max(most, rss() - before)
end = time.time() + 3
while time.time() < end:
    most = max(most, rss() - before)
    time.sleep(0.05)
print("grown by", most, "KiB,", len(todo) // len(line), "unsent")
reads = 0
while answers < N:
    r, w, _ = select.select([s], [s] if todo else [], [], 20)
    if not r and not w:
        break
    if w:
        todo = todo[s.send(todo[:65536]):]
    if r:
        got = s.recv(1 << 16)
        if not got:
            break
        answers += got.count(b"\n")
        reads += 1
        if reads % 16 == 0:
            most = max(most, rss() - before)
print("grown by", most, "KiB,", answers, "answers")
sys.exit(0 if most < 32 << 10 and answers == N else 1)
EOP
timeout 100 $PY "$tmp/ask.py" "$tmp/a/run/holdfastd.sock" "${pid[a]}" >"$tmp/out" 2>&1; ok $? "of many requests at once"
run 0 "others are answered" a node list

# no descriptor is left for one more
free=0
while [ -e "/proc/${pid[a]}/fd/$free" ]; do free=$((free + 1)); done
prlimit --pid "${pid[a]}" --nofile="$free:"
ticks() { awk '{ print $14 + $15 }' "/proc/${pid[a]}/stat"; }
timeout 10 "$B/holdfast" -c "$tmp/a/conf" node list </dev/null >"$tmp/out" 2>"$tmp/err" & who=$!
sleep 0.5; before=$(ticks); sleep 2
why="$(($(ticks) - before)) ticks in 2 s"; [ $(($(ticks) - before)) -lt 60 ]; ok $? "who cannot be accepted keeps no processor busy"
prlimit --pid "${pid[a]}" --nofile=1024:
wait $who; is $? 0 "and is answered when there is a descriptor"
plan
