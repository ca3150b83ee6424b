#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# P11, X9: keys lie on locked pages that no core dump takes, and nowhere else; contents of crypto
# checkpoints are never swapped; who holds keys dumps no core.
# shellcheck source=selftests/failover/lib.sh
. "$(dirname "$0")/../failover/lib.sh"
here=$(cd "$(dirname "$0")" && pwd)
if [ "$(id -u)" -ne 0 ]; then
	echo "1..0 # SKIP needs root (fanotify)"
	exit 0
fi

# look PID [TEXT...]: what is in its memory, into $tmp/mem
look() {
	local p=$1
	shift
	$PY "$here/memory.py" "$p" "$tmp/key" "$@" >"$tmp/mem" 2>"$tmp/err"
}
# ask EXPRESSION NAME: over that
ask() {
	$PY -c 'import json, sys; m = json.load(open(sys.argv[1])); sys.exit(not eval(sys.argv[2]))' "$tmp/mem" "$1"
	local code=$?
	why=$(cat "$tmp/mem")
	ok $code "$2"
}

umask 077
cluster a b
mkdir -p "$tmp/a/root/srv/tls"
secret=$(head -c 24 /dev/urandom | base64 -w 0)
printf 'secret=%s\n' "$secret" >"$tmp/a/root/srv/tls/key.pem"
seq 3000 | sed "s|^|$secret |" >"$tmp/a/root/srv/tls/chain.pem"	# compresses
up a || { echo "Bail out! no daemon: $(cat "$tmp/a/log")"; exit 1; }
up b || { echo "Bail out! no daemon: $(cat "$tmp/b/log")"; exit 1; }
for c in "resource add tls" "checkpoint add tls /srv/tls --crypto" "online tls" "sync tls"; do
	# shellcheck disable=SC2086
	run 0 "$c" a $c
done
for i in $(seq 20); do
	echo "$secret $i" >"$tmp/a/root/srv/tls/f$i"
done
run 0 "sync" a sync tls
run 0 "offline" a offline tls
run 0 "taken over" b online tls
same a b srv/tls
ok $? "P6: both have it"

for d in a b; do
	look "${pid[$d]}" "$secret"
	ok $? "$d: its memory can be read by root"
	ask 'sum(m["kept"][k] for k in ("aead", "mac", "hash", "local")) == 4' "$d: the four keys are there, once each"
	ask 'not any(m["dumped"].values())' "P11: $d: nor they nor the master key are anywhere else"
	ask 'not m["kept"]["master"] and not m["kept"]["hex"]' "P11: $d: the master key is gone"
	ask 'm["pages"] and all({"lo", "dd"} <= set(p["flags"]) for p in m["pages"])' \
		"P11: $d: their pages are locked, and left out of core dumps"
	ask 'all(p["mode"] == "r--p" and p["around"] == ["---p", "---p"] for p in m["pages"])' \
		"$d: nobody writes there; guard pages are on either side"
	ask 'not any(m["swappable"].values())' "P11: $d: contents of a crypto checkpoint are nowhere where they could be swapped"
done
# what the test looks for it can see, in a program that hides nothing
$PY -c 'import sys, time; key = open(sys.argv[1], "rb").read(); print("up", flush=True); time.sleep(60)' "$tmp/key" "$secret" >"$tmp/up" &
extra_pids=$!
victim=$!
until_true 10 grep -q up "$tmp/up"
look "$victim" "$secret"
ask 'm["dumped"]["hex"] and m["swappable"] and list(m["swappable"].values())[0]' "what lies open is found"

# a core of the daemon: none is written, whatever the limit says
mkdir "$tmp/cores"
cores() {
	$PY - "$@" <<'PY'
import os, resource, signal, subprocess, sys, time
d, sock, args = sys.argv[1], sys.argv[2], sys.argv[3:]
def loose():
    resource.setrlimit(resource.RLIMIT_CORE, (resource.RLIM_INFINITY,) * 2)
p = subprocess.Popen(args, cwd=d, preexec_fn=loose, stderr=subprocess.DEVNULL)
for _ in range(400):
    if not sock or os.path.exists(sock) or p.poll() is not None:
        break
    time.sleep(0.05)
os.kill(p.pid, signal.SIGABRT)
_, status = os.waitpid(p.pid, 0)
print('core' if os.WCOREDUMP(status) else 'none', os.WTERMSIG(status))
PY
}
down a
is "$(cores "$tmp/cores" '' sleep 60)" "core 6" "another program that aborts leaves a core here"
rm -f "$tmp/cores"/*
rm -f "$tmp/a/run/holdfastd.sock"
is "$(cores "$tmp/cores" "$tmp/a/run/holdfastd.sock" "$B/holdfastd" -c "$tmp/a/conf")" "none 6" \
	"P11: the daemon leaves none"
is "$(ls "$tmp/cores")" "" "nothing is there"

# where pages cannot be locked
# to be run in a subshell, which it becomes
lock() { ulimit -l "$1" && exec setpriv --bounding-set -ipc_lock --inh-caps -ipc_lock "${@:2}" </dev/null; }
if command -v setpriv >/dev/null; then
	(lock 0 timeout 60 "$B/holdfast" -c "$tmp/a/conf" disk check) >"$tmp/out" 2>"$tmp/err"
	is $? 1 "keys that cannot be locked are not loaded"
	says err "LimitMEMLOCK" "and it says what to do"
	(lock 64 timeout 60 "$B/holdfast" -c "$tmp/a/conf" disk check) >"$tmp/out" 2>"$tmp/err"
	is $? 0 "a small limit is enough for the keys"
	(lock 64 "$B/holdfastd" -c "$tmp/a/conf") 2>"$tmp/a/log" >/dev/null &
	extra_pids="$extra_pids $!"
	until_true 20 grep -q "is up" "$tmp/a/log"
	says a/log "crypto checkpoints could be swapped" "a daemon that cannot lock the rest says so"
	kill "${extra_pids##* }"
	wait "${extra_pids##* }"
else
	echo "ok $((n += 1)) - # SKIP no setpriv(1)"
fi
plan
