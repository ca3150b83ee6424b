#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# L4: messages come to the journal with catalogue ids, and each id is explained.
# In a mount namespace of its own, so that a socket of ours can stand where journald's is.
[ "$1" = inside ] || exec unshare -m --propagation private "$0" inside
# shellcheck source=selftests/failover/lib.sh
. "$(dirname "$0")/../failover/lib.sh"
catalog=$top/scripts/hooks/systemd/holdfast.catalog
ids=$(sed -n 's/.*X(N_\([A-Z_]*\), "\([0-9a-f]*\)").*/\1 \2/p' "$top/user/daemon/notice.h")

# the catalogue itself
[ "$(wc -l <<<"$ids")" -ge 15 ]; ok $? "there are ids"
is "$(cut -d' ' -f2 <<<"$ids" | sort | uniq -d)" "" "each once"
is "$(cut -d' ' -f2 <<<"$ids" | grep -vcE '^[0-9a-f]{32}$')" 0 "of 32 hexadecimal digits"
is "$(sed -n 's/^-- //p' "$catalog" | sort)" "$(cut -d' ' -f2 <<<"$ids" | sort)" "the catalogue explains these, and no others"
mkdir -p "$tmp/cat/usr/lib/systemd/catalog" "$tmp/cat/var/lib/systemd/catalog"
cp "$catalog" "$tmp/cat/usr/lib/systemd/catalog"
if command -v journalctl >/dev/null; then
	journalctl --root="$tmp/cat" --update-catalog >"$tmp/out" 2>"$tmp/err"; ok $? "journalctl reads it"
	is "$(grep -c . "$tmp/err")" 0 "without a complaint"
	journalctl --root="$tmp/cat" --list-catalog >"$tmp/out" 2>"$tmp/err"
	is "$(grep -cE '^[0-9a-f]{32} ' "$tmp/out")" "$(wc -l <<<"$ids")" "and lists all of them"
	is "$(grep -cvE '^[0-9a-f]{32} Holdfast: .' "$tmp/out")" 0 "each with a subject"
else
	echo "# skip: no journalctl here"
fi

# what the daemon sends
mkdir -p /run/systemd && mount -t tmpfs none /run/systemd && mkdir /run/systemd/journal || exit 1
touch "$tmp/journal"
"$PY" "$top/selftests/rules/journald.py" /run/systemd/journal/socket "$tmp/journal" & extra_pids+=" $!"
until_true 10 test -S /run/systemd/journal/socket; ok $? "a socket stands in for journald's"
# sent ID [FIELD=VALUE]...
sent() {
	$PY - "$tmp/journal" "$(sed -n "s/^$1 //p" <<<"$ids")" "${@:2}" <<-'EOT'
		import json, sys
		want = dict(a.split('=', 1) for a in sys.argv[3:])
		for line in open(sys.argv[1]):
		    m = json.loads(line)
		    if m.get('MESSAGE_ID') == sys.argv[2] and all(m.get(k) == v for k, v in want.items()):
		        sys.exit(0)
		sys.exit(1)
	EOT
}
up() {		# as systemd starts it
	local c=$1 s
	shift
	: >>"$tmp/$c/log"
	s=$(stat -c %d:%i "$tmp/$c/log")
	env "$@" JOURNAL_STREAM="$s" "$B/holdfastd" -c "$tmp/$c/conf" 2>>"$tmp/$c/log" &
	pid[$c]=$!
	until_true 10 hf "$c" node list
}
LEASE=2s
cluster a b
mkdir -p "$tmp/a/root/srv/r" "$tmp/b/root/srv/r"
echo 1 >"$tmp/a/root/srv/r/f"
up a
up b
until_true 5 sent STARTED HOLDFAST_NODE=a PRIORITY=5; ok $? "the start, with node and priority"
until_true 5 sent NO_MODULE || [ ! -s "$tmp/a/log" ]; ok $? "nothing of it on standard error"
hf a resource add r >/dev/null && hf a checkpoint add r /srv/r >/dev/null
run 0 "online" a online r
until_true 5 sent STATE HOLDFAST_RESOURCE=r HOLDFAST_NODE=a "MESSAGE=r: online-pending -> online"; ok $? "a change of state, with the resource"
printf '#!/bin/sh\nexit 3\n' >"$tmp/b/hooks/x"; chmod 755 "$tmp/b/hooks/x"
echo 2 >"$tmp/b/root/srv/r/mine"
kill -STOP "${pid[a]}"
sleep 2.5
run 0 "b takes it over" b online r --fenced
until_true 5 sent TAKEN_OVER HOLDFAST_RESOURCE=r HOLDFAST_NODE=b; ok $? "a takeover"
until_true 5 sent KEPT_ASIDE HOLDFAST_RESOURCE=r HOLDFAST_NODE=b; ok $? "what it kept aside"
until_true 5 sent FORCED HOLDFAST_RESOURCE=r HOLDFAST_NODE=b PRIORITY=4; ok $? "that it was forced"
until_true 5 sent HOOK HOLDFAST_RESOURCE=r HOLDFAST_NODE=b; ok $? "a hook that failed"
kill -CONT "${pid[a]}"
echo late >"$tmp/a/root/srv/r/late"
until_true 10 sent STALE HOLDFAST_RESOURCE=r HOLDFAST_NODE=a PRIORITY=3; ok $? "the fenced-out owner"
until_true 10 sent UNCONFIRMED HOLDFAST_RESOURCE=r HOLDFAST_NODE=a; ok $? "what it held"
hf b resource set r tolerate=1 >/dev/null
down b
up b HOLDFAST_SEAM=commit.captured:1:eio,commit.captured:1:eio,commit.captured:1:eio,commit.captured:1:eio
until_true 10 field_is b r state online
for i in 1 2 3; do echo "$i" >"$tmp/b/root/srv/r/f"; sleep 0.2; done
until_true 10 sent DEGRADED HOLDFAST_RESOURCE=r PRIORITY=3; ok $? "degraded"
until_true 20 sent RECOVERED HOLDFAST_RESOURCE=r; ok $? "and that it is over"
for i in $(seq 40); do echo "$i" >"$tmp/b/root/srv/r/n$i"; done
hf b sync r >/dev/null
rm "$tmp"/b/root/srv/r/n*
until_true 10 sent GUARD HOLDFAST_RESOURCE=r; ok $? "a deletion that the guard holds back"
mv "$tmp/b/root/srv/r" "$tmp/b/root/srv/gone"; rm -r "$tmp/b/root/srv/gone"
hf b sync r >/dev/null 2>&1
until_true 10 sent LOST HOLDFAST_RESOURCE=r PRIORITY=3; ok $? "a tree that is gone"
down b
until_true 5 sent STOPPED HOLDFAST_NODE=b; ok $? "the end"
why=$($PY -c "
import json,sys
known=dict(l.split()[::-1] for l in '''$ids'''.splitlines())
for l in open('$tmp/journal'):
    m=json.loads(l)
    if m.get('MESSAGE_ID') and m['MESSAGE_ID'] not in known: print('unknown', m)
    if not m.get('MESSAGE') or m.get('PRIORITY') not in list('01234567'): print('bad', m)
"); [ -z "$why" ]; ok $? "every message is a whole one"
is "$(grep -c . "$tmp/a/log")" 0 "nothing went to standard error"
plan
