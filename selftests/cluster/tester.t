#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# ocf:holdfast:tree with daemons that run: what ocf-tester and xmllint say of it, and the faults that
# agent.t can only play. crm_resource --validate is in pacemaker.t. (L8, W18, X4; P1, P4)

# shellcheck source=selftests/failover/lib.sh
. "$(dirname "$0")/../failover/lib.sh"
[ "$(id -u)" = 0 ] || { echo "1..0 # SKIP needs root"; exit 0; }
export PATH=$B:$PATH
# ocf-tester asks for the metadata as nobody
chmod 755 "$tmp"
agent=$tmp/tree
install -m 755 "$top/scripts/hooks/ocf/tree" "$agent"

# act WANT WHAT NODE ACTION [NAME=VALUE...]
act() {
	local want=$1 what=$2 c=$3 action=$4
	shift 4
	timeout 60 env OCF_RESKEY_resource=pg OCF_RESKEY_config="$tmp/$c/conf" OCF_RESKEY_CRM_meta_interval=10000 \
		OCF_RESKEY_CRM_meta_timeout=20000 "$@" "$agent" "$action" </dev/null >"$tmp/out" 2>"$tmp/err"
	is $? "$want" "$what"
}
skip() { echo "ok $((n += 1)) - $1 # SKIP $2"; }
# the daemon dies, and leaves its socket behind
shot() {
	kill -KILL "${pid[$1]}"
	wait "${pid[$1]}" 2>/dev/null
}
# one that the agent started is ours to end
adopt() {
	pid[$1]=$(pgrep -f -x "holdfastd -c $tmp/$1/conf")
	[ -n "${pid[$1]}" ]
}
trap 'extra_pids=$(pgrep -f -x "holdfastd -c $tmp/[ab]/conf"); cleanup' EXIT

cluster a b
mkdir -p "$tmp/a/root/srv/pg"
echo 1 >"$tmp/a/root/srv/pg/conf"
up a && up b; ok $? "two nodes"
hf a resource add pg >/dev/null && hf a checkpoint add pg /srv/pg >/dev/null; ok $? "a resource"

# --- the cluster's tools
if command -v ocf-tester >/dev/null; then
	timeout 120 ocf-tester -n pg -o resource=pg -o config="$tmp/a/conf" "$agent" >"$tmp/out" 2>"$tmp/err"
	ok $? "ocf-tester"
	says out 'passed all tests' "it says so"
else
	skip ocf-tester "it is not installed"
fi
if [ -e /usr/share/resource-agents/ra-api-1.dtd ] && command -v xmllint >/dev/null; then
	"$agent" meta-data >"$tmp/meta"
	# read from standard input, so that the document type is found where it is installed
	(cd /usr/share/resource-agents && xmllint --noout --valid -) <"$tmp/meta" >"$tmp/out" 2>"$tmp/err"
	ok $? "xmllint: the metadata are valid"
else
	skip xmllint "it, or ra-api-1.dtd, is not installed"
fi
# --- idempotent, in the three states
act 7 "monitor: offline" a monitor
act 0 "stop: stopped already" a stop
act 0 "start" a start
act 0 "start: started already" a start
for l in '' 0 10 20; do
	act 0 "monitor: online, depth ${l:-not given}" a monitor OCF_CHECK_LEVEL="$l"
done
act 7 "monitor: online elsewhere" b monitor
act 7 "  at any depth" b monitor OCF_CHECK_LEVEL=20
act 1 "P4: start: its owner is alive elsewhere" b start OCF_RESKEY_CRM_meta_timeout=4000
act 0 "stop: where it never was" b stop
act 0 "monitor: it stays where it is" a monitor

# --- a daemon that is dead
shot a
echo 2 >"$tmp/a/root/srv/pg/conf"
act 0 "monitor: a dead daemon is started, and what it had is online" a monitor
adopt a; ok $? "it runs"
run 0 "P1: sync" a sync pg
shot a
act 0 "probe: the same" a monitor OCF_RESKEY_CRM_meta_interval=0
adopt a
shot a
act 0 "start: the same" a start
adopt a
shot a
echo 3 >"$tmp/a/root/srv/pg/conf"
act 0 "stop: a dead daemon is started, and stops it" a stop
adopt a
is "$(field a pg state)" offline "it is released"
act 7 "monitor: stopped" a monitor
act 0 "start on the other node" b start
is "$(cat "$tmp/b/root/srv/pg/conf")" 3 "P1: with what changed while no daemon ran"
down b
rm -f "$tmp/b/run/holdfastd.sock"
act 7 "probe: no daemon ran since boot" b monitor OCF_RESKEY_CRM_meta_interval=0
act 0 "stop: the same" b stop
! pgrep -f -x "holdfastd -c $tmp/b/conf" >/dev/null
ok $? "neither has started one"
chmod 644 "$tmp/key"
act 1 "monitor: a daemon that cannot be started is not 'not running'" b monitor OCF_RESKEY_CRM_meta_timeout=4000
# the last one that the agent started
until_true 5 eval '! pgrep -f -- "-c $tmp/b/conf"'
chmod 600 "$tmp/key"
up b && until_true 10 field_is b pg state online; ok $? "b is back, and has it"

# --- taken over, and the stale owner
act 1 "start: the owner lives" a start OCF_RESKEY_CRM_meta_timeout=4000
act 0 "start: takeover=fenced" a start OCF_RESKEY_takeover=fenced
act 0 "P4: stop of the stale owner" b stop
act 7 "monitor: the stale owner" b monitor
act 0 "monitor: the new one" a monitor

# --- worse than it should be
act 190 "monitor: require=kernel, and fanotify tracks" a monitor OCF_RESKEY_require=kernel
says err 'ocf-exit-reason:pg is degraded: .*kernel module' "says why"
hf a resource set pg tolerate=0 commit-timeout=500ms rpo=100ms >/dev/null
shot a
# its threads may hold its lock for a moment still
until_true 5 flock -n "$tmp/a/state/lock" true
up a HOLDFAST_SEAM=commit.append:0:eio && until_true 10 field_is a pg state online; ok $? "a cannot append any more"
echo 4 >"$tmp/a/root/srv/pg/conf"
late() { [ "$(field a pg oldest_dirty_ms)" -gt 100 ]; }
until_true 10 late; ok $? "a change waits for the store"
act 190 "monitor, depth 10: for longer than rpo" a monitor OCF_CHECK_LEVEL=10
until_true 20 field_is a pg degraded true; ok $? "commits fail"
act 190 "monitor: degraded" a monitor
act 0 "stop: without the store" a stop
act 7 "monitor: stopped" a monitor
act 0 "stop: stopped already" a stop
crash a
up a; ok $? "a can append again"
until_true 20 eval '! hf a status pg | grep -q unreleased'; ok $? "released when the store is back"
act 0 "start" a start
act 0 "monitor: as it should be" a monitor OCF_CHECK_LEVEL=20 OCF_RESKEY_require=any

# --- no daemon can be started, as the store is gone
journal() { $PY -c 'import json,sys; print(json.load(open(sys.argv[1]))["'"$2"'"])' "$tmp/$1/state/resources/pg"; }
released() { ! hf a status pg | grep -q unreleased && field_is a pg state offline; }
short=OCF_RESKEY_CRM_meta_timeout=5000
gone() {	# a's daemon is dead, and the disk is away
	shot a
	until_true 5 flock -n "$tmp/a/state/lock" true
	mv "$tmp/disk" "$tmp/away"
}
echo 5 >"$tmp/a/root/srv/pg/conf"
run 0 "P1: sync" a sync pg
gone
echo 6 >"$tmp/a/root/srv/pg/conf"
act 0 "stop: neither daemon nor store" a stop $short
is "$(journal a state)" unreleased "the next daemon is told"
act 0 "stop: again" a stop $short
mv "$tmp/away" "$tmp/disk"
act 7 "monitor: the next daemon does not go on with it" a monitor
adopt a
until_true 20 released; ok $? "it is released"
act 0 "start on the other node" b start
is "$(cat "$tmp/b/root/srv/pg/conf")" 6 "P1: with what changed before the stop"
act 0 "stop there" b stop
act 0 "start" a start
gone
act 0 "stop: neither daemon nor store" a stop $short
mv "$tmp/away" "$tmp/disk"
act 0 "start on the other node, after the lease" b start
echo 7 >"$tmp/b/root/srv/pg/conf"
run 0 "P1: sync there" b sync pg
act 7 "P4: monitor: the stale owner" a monitor
adopt a
is "$(field a pg owner)" b "P4: it owns nothing"
act 0 "stop there" b stop
act 0 "start" a start
is "$(cat "$tmp/a/root/srv/pg/conf")" 7 "P1: with what the other node had"
# what has no safe answer is left to fencing
hf a resource set pg strict-stop=yes >/dev/null
echo 8 >"$tmp/a/root/srv/pg/conf"
run 0 "sync" a sync pg
gone
act 1 "stop: strict-stop" a stop $short
says err 'strict-stop' "says so"
mv "$tmp/away" "$tmp/disk"
act 0 "stop: the store is back" a stop
adopt a
hf a resource set pg strict-stop=no >/dev/null
mkfifo "$tmp/fifo"
act 0 "start" a start
shot a
until_true 5 flock -n "$tmp/a/state/lock" true
flock "$tmp/a/state/lock" cat "$tmp/fifo" &
holder=$!
until_true 5 eval '! flock -n "$tmp/a/state/lock" true'
act 1 "stop: somebody holds the lock, a daemon that hangs" a stop $short
: >"$tmp/fifo"
wait $holder
act 0 "start" a start
adopt a

# --- the log is damaged
for off in $($PY -c 'd = open("'"$tmp"'/disk", "rb").read()
print(*[o for o in range(0, len(d), 4096) if d[o:o + 4] == b"HFRC"])'); do
	printf XXXX | dd of="$tmp/disk" bs=1 seek=$((off + 100)) conv=notrunc 2>/dev/null
done
act 0 "monitor, depth 10: does not read the log" a monitor OCF_CHECK_LEVEL=10
act 190 "monitor, depth 20: it is damaged" a monitor OCF_CHECK_LEVEL=20
says err 'ocf-exit-reason:pg is degraded: its log .* damaged' "says so"
plan
