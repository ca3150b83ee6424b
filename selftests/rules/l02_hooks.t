#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# L2: programs in hooks.d are told of online, offline, restored, committed, stale, degraded and
# failed; they never hold up tracking, and may ask the daemon (W15).
# shellcheck source=selftests/failover/lib.sh
. "$(dirname "$0")/../failover/lib.sh"

events() { cut -d' ' -f1-2 "$tmp/$1/events" 2>/dev/null | tr '\n' ';'; }
told() { grep -q "^$2" "$tmp/$1/events" 2>/dev/null; }
count() { grep -c "^$2" "$tmp/$1/events" 2>/dev/null; }
forget() { : >"$tmp/$1/events"; }
# hook NODE NAME, its body on stdin
hook() {
	{ echo '#!/bin/sh'; cat; } >"$tmp/$1/hooks/$2"
	chmod 755 "$tmp/$1/hooks/$2"
}
LEASE=2s
cluster a b
sed -i 's/^hooks_dir.*/&\nhooks_timeout = 1s/' "$tmp/a/conf" "$tmp/b/conf"
for c in a b; do
	hook "$c" 50-log <<<"echo \"\$@\" >>$tmp/$c/events"
done
mkdir -p "$tmp/a/root/srv/r" "$tmp/b/root/srv/r"
echo 1 >"$tmp/a/root/srv/r/f"
up a
up b
hf a resource add r >/dev/null && hf a checkpoint add r /srv/r >/dev/null
run 0 "online" a online r
until_true 10 told a "online r"; ok $? "L2: online is told"
until_true 10 told a "committed r 1"; ok $? "L2: committed is told, with the generation"
is "$(events a | sed 's/committed r;//')" "restored r;online r;" "restored comes before online; no other event does"

# what is told comes with the environment, and nothing of the daemon's own
hook a 10-env <<<"{ env; ls -l /proc/self/fd; pwd; } >$tmp/a/env.\$1"
forget a
run 0 "offline" a offline r
until_true 10 told a "offline r"; ok $? "L2: offline is told"
run 0 "online" a online r
until_true 10 test -s "$tmp/a/env.online"
until_true 10 told a "online r"
for v in HOLDFAST_EVENT=online HOLDFAST_RESOURCE=r HOLDFAST_NODE=a HOLDFAST_CLUSTER=test "HOLDFAST_CONF=$tmp/a/conf"; do
	grep -qxF "$v" "$tmp/a/env.online"; ok $? "the environment has $v"
done
why=$(grep -E 'NOTIFY_SOCKET|CREDENTIALS|SEAM|JOURNAL_STREAM|/proc/[0-9]+/root' "$tmp/a/env.online"); [ -z "$why" ]
ok $? "and nothing that was meant for the daemon"
why=$(grep -E -- '-> (socket|anon_inode|.*/disk|.*/state|.*/run|.*/root)' "$tmp/a/env.online"); [ -z "$why" ]
ok $? "nor a file of the daemon's"
rm "$tmp/a/hooks/10-env"

# W15: a hook that asks the daemon, and the daemon that goes on
hook a 20-ask <<-EOT
	[ "\$1" = online ] || exit 0
	$B/holdfast sync "\$2" >$tmp/a/asked 2>&1
	$B/holdfast checkpoint add "\$2" /srv/more >>$tmp/a/asked 2>&1
	echo "exit \$?" >>$tmp/a/asked
EOT
mkdir -p "$tmp/a/root/srv/more"; echo m >"$tmp/a/root/srv/more/m"
run 0 "offline" a offline r
run 0 "online" a online r
until_true 10 grep -q '^exit' "$tmp/a/asked"
is "$(tail -1 "$tmp/a/asked")" "exit 0" "W15: a hook of online syncs, and adds a checkpoint"
why=$(cat "$tmp/a/asked")
hf a checkpoint list r | grep -q /srv/more; ok $? "W15: which is there"
rm "$tmp/a/hooks/20-ask"

# committed is told once a second at most, and the last one is told
until_true 10 told a "online r"
sleep 1.2
forget a
g0=$(field a r confirmed)
for i in $(seq 60); do echo "$i" >"$tmp/a/root/srv/r/f"; sleep 0.02; done
run 0 "sync" a sync r
g1=$(field a r confirmed)
until_true 10 told a "committed r $g1"; ok $? "L2: the newest generation is told in the end"
why="$(count a committed) events for $((g1 - g0)) generations"
[ $((g1 - g0)) -gt 10 ] && [ "$(count a committed)" -lt $(((g1 - g0) / 2)) ]
ok $? "L2: committed is not told for each of many"

# a hook that hangs: tracking goes on, the hook and its children are ended
hook a 05-hang <<-EOT
	[ "\$1" = committed ] || exit 0
	echo \$\$ >>$tmp/a/hung
	sleep 1000 & echo \$! >>$tmp/a/hung
	wait
EOT
forget a
echo x >"$tmp/a/root/srv/r/hang"
until_true 10 test -s "$tmp/a/hung"; ok $? "a hook hangs"
g0=$(field a r confirmed)
for i in 1 2 3; do
	echo "$i" >"$tmp/a/root/srv/r/hang"
	run 0 "sync while it hangs" a sync r
done
[ "$(field a r confirmed)" -ge $((g0 + 3)) ]; ok $? "L2: commits go on while a hook hangs"
until_true 10 told a committed; ok $? "hooks_timeout: the next hook is run"
until_true 5 eval "! kill -0 $(head -1 "$tmp/a/hung") 2>/dev/null && ! kill -0 $(sed -n 2p "$tmp/a/hung") 2>/dev/null"
ok $? "hooks_timeout: it was ended, and so was its child"
grep -q 'hook .*05-hang committed r took longer than hooks_timeout' "$tmp/a/log"; ok $? "which the log says"
rm "$tmp/a/hooks/05-hang"
hook a 06-bad <<<'exit 7'
echo bad >"$tmp/a/root/srv/r/f"
until_true 10 grep -q 'hook .*06-bad committed r ended with status 7' "$tmp/a/log"; ok $? "one that fails is named, with its status"
rm "$tmp/a/hooks/06-bad"

# who may be run
forget a
chmod g+w "$tmp/a/hooks/50-log"
run 0 "offline" a offline r
until_true 10 grep -q 'hook .*50-log is not run: others may write to it' "$tmp/a/log"; ok $? "P10: what others may write to is not run"
chmod g-w "$tmp/a/hooks/50-log"; chmod o+w "$tmp/a/hooks"
run 0 "online" a online r
until_true 10 grep -q 'no hook in .* is run: others may write to the directory' "$tmp/a/log"; ok $? "P10: nor anything in such a directory"
is "$(events a)" "" "nothing was told"
chmod o-w "$tmp/a/hooks"

# degraded, failed
hf a resource set r tolerate=1 on-exceed=failed >/dev/null
run 0 "offline" a offline r
until_true 10 told a "offline r"
down a
up a HOLDFAST_SEAM=commit.captured:2+:eio
hook a 60-why <<<"[ \$1 = failed ] && echo \"\$HOLDFAST_WHY\" >>$tmp/a/why; exit 0"
forget a
run 0 "online" a online r
until_true 10 told a "online r"
for i in 1 2 3 4; do echo "late $i" >"$tmp/a/root/srv/r/late"; sleep 0.3; done
until_true 15 told a "failed r"; ok $? "L2: failed is told"
is "$(events a | grep -o 'degraded r;failed r;')" "degraded r;failed r;" "L2: after degraded, each once"
until_true 15 grep -q 'injected failure' "$tmp/a/why"; ok $? "HOLDFAST_WHY says why"

# stale: told instead of offline
down a
up a
until_true 10 field_is a r state online
kill -STOP "${pid[a]}"
sleep 2.5
run 0 "b takes it over" b online r --fenced
until_true 10 told b "online r"
is "$(events b | sed 's/committed r;//')" "restored r;online r;" "L2: restored, then online, on the node that took it over"
forget a
kill -CONT "${pid[a]}"
echo y >"$tmp/a/root/srv/r/y"
until_true 10 told a "stale r"; ok $? "L2: stale is told"
sleep 0.5
is "$(events a)" "stale r;" "and nothing else"
plan
