#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# [access] read_group: its members may list and see; they change nothing. Others may do nothing.
# shellcheck source=selftests/failover/lib.sh
. "$(dirname "$0")/../failover/lib.sh"
gid=$(getent group daemon | cut -d: -f3)
LEASE=2s
cluster a
printf '[access]\nread_group = daemon\n' >>"$tmp/a/conf"
chmod 755 "$tmp" "$tmp/a" "$tmp/a/run"; chmod 644 "$tmp/a/conf"
mkdir -p "$tmp/a/root/srv/r"; echo 1 >"$tmp/a/root/srv/r/f"
up a
hf a resource add r >/dev/null && hf a checkpoint add r /srv/r >/dev/null && hf a online r >/dev/null
hf a sync r >/dev/null
cp "$B/holdfast" "$tmp/holdfast"
# as WANT NAME SETPRIV-ARGS -- ARG...
as() {
	local want=$1 name=$2 p=()
	shift 2
	while [ "$1" != -- ]; do p+=("$1"); shift; done
	shift
	timeout 60 setpriv --reuid 65534 "${p[@]}" "$tmp/holdfast" -c "$tmp/a/conf" "$@" >"$tmp/out" 2>"$tmp/err" </dev/null
	is $? "$want" "$name"
}
member() { as "$1" "a member: ${*:2}" --regid 65534 --groups "$gid" -- "${@:2}"; }
primary() { as "$1" "by primary group: ${*:2}" --regid "$gid" --clear-groups -- "${@:2}"; }
stranger() { as "$1" "another: ${*:2}" --regid 65534 --clear-groups -- "${@:2}"; }
is "$(stat -c %a:%g "$tmp/a/run/holdfastd.sock")" "660:$gid" "P10: the socket is the group's"
reads=("status" "status r" "resource list" "resource show r" "checkpoint list" "node list" "history r" "diff r" "metrics" "report"
	"displaced list")
for v in "${reads[@]}"; do
	# shellcheck disable=SC2086
	member 0 $v
done
member 0 doctor
says out "^warn  key " "of what is root's it says so"
grep -q "^ok    store .*answers" "$tmp/out"; ok $? "what the daemon can tell it tells"
primary 0 status
changes=("resource add x" "resource delete r --yes" "resource set r settle=1ms" "resource reset r" "resource rebuild r --yes" "checkpoint add r /srv/x"
	"checkpoint delete r /srv/r --yes" "online r" "online r --fenced" "offline r" "sync r" "rollback r --to 1 --yes"
	"history pin r 1 --name p" "history unpin r --name p" "node remove b --yes" "diff r --text" "restore r --to /tmp/x-$$"
	"displaced restore r 20260102T030405.678Z-0123abcd")
for v in "${changes[@]}"; do
	# shellcheck disable=SC2086
	member 9 $v
done
for v in "${reads[@]}" "${changes[@]}"; do
	# shellcheck disable=SC2086
	stranger 9 $v
done
is "$(field a r state)" online "nothing was changed"
# watch, which stays
timeout 20 setpriv --reuid 65534 --regid 65534 --groups "$gid" "$tmp/holdfast" -c "$tmp/a/conf" watch >"$tmp/events" 2>&1 & extra_pids+=" $!"
sleep 0.5
echo 2 >"$tmp/a/root/srv/r/f"
until_true 5 grep -q 'generation' "$tmp/events"; ok $? "a member may watch"
down a
sed -i '/^read_group/d' "$tmp/a/conf"
up a
member 9 status
is "$(stat -c %a "$tmp/a/run/holdfastd.sock")" 600 "P10: without read_group the socket is root's alone"
down a
echo 'read_group = no-such-group-here' >>"$tmp/a/conf"
timeout 20 "$B/holdfastd" -c "$tmp/a/conf" 2>"$tmp/err"; is $? 2 "a group that is not there is refused"
says err "read_group: there is no group 'no-such-group-here'" "and named"
plan
