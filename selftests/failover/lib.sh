# SPDX-License-Identifier: GPL-2.0-or-later
# Several daemons on this machine as different nodes of one cluster, for tests; sourced.
# shellcheck shell=bash
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
B=${HF_BUILD:-$top/build}
LEASE=${LEASE:-1s}
tmp=$(mktemp -d "${TMPDIR:-/tmp}/hf-failover-XXXXXX") || exit 1
declare -A pid
PY=/usr/bin/python3
[ -x $PY ] || PY=python3
n=0 failed=0 why=
unset HOLDFAST_CONF NO_COLOR CREDENTIALS_DIRECTORY HOLDFAST_SEAM JOURNAL_STREAM NOTIFY_SOCKET

cleanup() {
	local p
	for p in "${pid[@]}" $extra_pids; do
		kill -KILL "$p" 2>/dev/null
		wait "$p" 2>/dev/null
	done
	for p in $extra_mounts; do
		umount -l "$p"
	done
	[ -n "$KEEP" ] && echo "# kept: $tmp" || rm -rf "$tmp"
}
extra_pids= extra_mounts=
trap cleanup EXIT
trap 'exit 1' INT TERM HUP

# ok STATUS NAME
ok() {
	n=$((n + 1))
	if [ "$1" -eq 0 ]; then
		echo "ok $n - $2"
	else
		echo "not ok $n - $2"
		failed=$((failed + 1))
		[ -n "$why" ] && sed 's/^/# /' <<<"$why"
		[ -s "$tmp/out" ] && sed 's/^/# out: /' "$tmp/out" | head -20
		[ -s "$tmp/err" ] && sed 's/^/# err: /' "$tmp/err" | head -20
	fi
	why=
	return 0
}
is() { why="got '$1', want '$2'"; [ "$1" = "$2" ]; ok $? "$3"; }
says() { why="no '$2' in $1"; grep -q -e "$2" "$tmp/$1"; ok $? "$3"; }
plan() { echo "1..$n"; [ "$failed" -eq 0 ]; exit $?; }

# node NAME [LINE...]: its configuration and directories; LINEs go below [node]
node() {
	local d=$tmp/$1 name=$1
	shift
	mkdir -p "$d/root/srv" "$d/state" "$d/run" "$d/hooks"
	{
		printf '[node]\nname = %s\nroot = %s\nstate_dir = %s\nruntime_dir = %s\nkey_file = %s\nhooks_dir = %s\n' \
			"$name" "$d/root" "$d/state" "$d/run" "$tmp/key" "$d/hooks"
		printf '[store]\nurl = %s\n[track]\nsource = fanotify\nscrub = 0\n' "${STORE:-disk:$tmp/disk}"
		[ $# -gt 0 ] && printf '%s\n' "$@"
	} >"$d/conf"
}

# cluster NAME...: key, disk (or STORE, a URL), identities
cluster() {
	local c
	for c in "$@"; do
		node "$c"
	done
	hf "$1" keygen >/dev/null &&
	hf "$1" disk format "${STORE:-$tmp/disk}" --name test --nodes 4 --lease "$LEASE" --size "${SIZE:-64MiB}" >/dev/null || exit 1
	for c in "$@"; do
		hf "$c" join "${STORE:-$tmp/disk}" >/dev/null || exit 1
	done
}

# hf NODE ARG...: the command as on that node
hf() { local c=$1; shift; timeout 60 "$B/holdfast" -c "$tmp/$c/conf" "$@" </dev/null; }
# run WANT NAME NODE ARG...: its exit code must be WANT; output in $tmp/out and err
run() {
	local want=$1 name=$2
	shift 2
	hf "$@" >"$tmp/out" 2>"$tmp/err"
	is $? "$want" "$name"
}

# up NODE [ENV=VALUE...]: starts its daemon and waits until it answers
up() {
	local c=$1 i
	shift
	env "$@" "$B/holdfastd" -c "$tmp/$c/conf" 2>>"$tmp/$c/log" &
	pid[$c]=$!
	for i in $(seq 200); do
		[ -S "$tmp/$c/run/holdfastd.sock" ] &&
			timeout 2 "$B/holdfast" -c "$tmp/$c/conf" node list </dev/null >/dev/null 2>&1 && return 0
		stopped "$c" && return 0	# as it was told to
		alive "$c" || return 1
		sleep 0.05
	done
	return 1
}
down() { kill -TERM "${pid[$1]}" && wait "${pid[$1]}"; }		# in order
crash() {
	kill -KILL "${pid[$1]}" 2>/dev/null
	wait "${pid[$1]}" 2>/dev/null
	rm -f "$tmp/$1/run/holdfastd.sock"
}

# until_true SECONDS COMMAND...: waits for a state, never asserts a time
until_true() {
	local i=$(($1 * 20))
	shift
	while [ $i -gt 0 ]; do
		"$@" >/dev/null 2>&1 && return 0
		sleep 0.05
		i=$((i - 1))
	done
	return 1
}
# a killed child is there until it is waited for
alive() { grep -q '^State:.*[RSDT]' "/proc/${pid[$1]}/status" 2>/dev/null; }
stopped() { grep -qs '^State:.*T' "/proc/${pid[$1]}/status"; }
# field NODE RESOURCE KEY: of its status
field() {
	hf "$1" --json status "$2" | $PY -c "
import json,sys
d=json.load(sys.stdin)['resources'][0]
for k in '$3'.split('.'):
    d=d.get(k) if isinstance(d,dict) else None
print(d if not isinstance(d,bool) else str(d).lower())"
}
field_is() { [ "$(field "$1" "$2" "$3")" = "$4" ]; }
# faulty NODE: up, with a disk that goes away while $tmp/NODE.gone exists (preload_gone.c); silent: it is away; back: it is not
faulty() { up "$1" LD_PRELOAD="$B/selftests/failover/preload_gone.so" FAULT_DISK="$tmp/disk" FAULT_FLAG="$tmp/$1.gone" ASAN_OPTIONS=verify_asan_link_order=0; }
silent() { touch "$tmp/$1.gone"; until_true 30 eval "! hf $1 --json status | grep -q '\"store\":\"ok\"'"; }
back() { rm "$tmp/$1.gone"; until_true 30 eval "hf $1 --json status | grep -q '\"store\":\"ok\"'"; }
# same NODE1 NODE2 DIR: equal by rsync's word, contents and metadata
same() {
	local d
	d=$(rsync -aHAXc --delete --dry-run -i "$tmp/$1/root/$3/" "$tmp/$2/root/$3/" 2>&1)
	why=$d
	[ -z "$d" ]
}
