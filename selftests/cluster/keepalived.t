#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# keepalived's notify script between two real daemons: the tree is restored before the service starts
# and released after it has ended, whatever order keepalived's calls come in; one node runs it (P1, P4, P5).
# Then the same under two real keepaliveds in network namespaces, where they can be had.

set -u
export LC_ALL=C
cd "$(dirname "$0")/../.." || exit 1
KEEP=${KEEP-}
# shellcheck source=selftests/failover/lib.sh
. selftests/failover/lib.sh

notify=$PWD/scripts/hooks/keepalived/notify
cluster a b
mkdir "$tmp/bin"
ln -s "$B/holdfast" "$tmp/bin/holdfast"

# The service: reads its configuration when it is started, and writes to it when it is stopped.
cat >"$tmp/bin/systemctl" <<'X'
#!/bin/bash
d=$T/$NODE
other=$T/a
[ "$NODE" = b ] || other=$T/b
case $1 in
start)
	[ ! -e "$d/nostart" ] || { echo "it is told not to start" >&2; exit 1; }
	holdfast -c "$d/conf" --json status pg | grep -q '"state":"online"' || echo "$NODE" >>"$T/early"
	[ ! -e "$other/running" ] || echo "$NODE" >>"$T/both"
	cat "$d/root/srv/app/"* >"$d/seen"
	: >"$d/running" ;;
stop)
	[ ! -e "$d/nostop" ] || { echo "it is told not to stop" >&2; exit 1; }
	if [ -e "$d/running" ]; then
		echo "last of $NODE" >>"$d/root/srv/app/late"
		rm "$d/running"
	fi ;;
esac
echo "$*" >>"$d/calls"
X
# As keepalived has it in its configuration; what it says goes to a file.
for c in a b; do
	printf '%s\n' '#!/bin/sh' "export T='$tmp' NODE=$c PATH='$tmp/bin':\$PATH" \
		"exec '$notify' -c '$tmp/$c/conf' -d '$tmp/$c/notes' pg db.service \"\$@\" 2>>'$tmp/$c/said'" \
		>"$tmp/notify-$c"
done
# a journal that is not there is no reason to stop
printf '%s\n' '#!/bin/sh' 'exit 1' >"$tmp/bin/logger"
chmod 755 "$tmp/bin/systemctl" "$tmp/bin/logger" "$tmp"/notify-?

# vrrp NODE STATE: as keepalived calls it, beside everything else
vrrp() {
	"$tmp/notify-$1" INSTANCE vi "$2" 100 &
	extra_pids="$extra_pids $!"
	last=$!
}
running() { [ -e "$tmp/$1/running" ]; }
stands() { ! running "$1"; }
seen() { grep -q "$2" "$tmp/$1/seen"; }
said() { grep -q "$2" "$tmp/$1/said"; }
calls() { tr '\n' , <"$tmp/$1/calls"; }

up a && up b
ok $? "two daemons"
mkdir -p "$tmp/a/root/srv/app"
echo "word first" >"$tmp/a/root/srv/app/main"
hf a resource add pg >/dev/null && hf a checkpoint add pg /srv/app >/dev/null
ok $? "a resource"

vrrp a BACKUP; wait "$last"
vrrp b BACKUP; wait "$last"
stands a && stands b && field_is a pg state offline
ok $? "BACKUP where nothing runs: nothing runs"

vrrp a MASTER; wait "$last"
running a && seen a 'word first' && field_is a pg state online
ok $? "MASTER: the resource is online, the service runs"

# --- a clean change of masters, told to the new one first
echo "word second" >"$tmp/a/root/srv/app/main"
vrrp b MASTER; on_b=$last
until_true 20 said b 'is online on a'
ok $? "MASTER where another node has it: it is said why nothing starts"
stands b && running a
ok $? "P4: and nothing starts"
vrrp a BACKUP; wait "$last"
until_true 20 running b
ok $? "it starts when the old master has stopped"
wait "$on_b"
is "$?" 0 "  and the script ends"
stands a && field_is b pg owner b
ok $? "  the other one does not run"
why=$(cat "$tmp/b/seen")
seen b 'word second' && seen b 'last of a'
ok $? "P1, P5: the service read all that was written, up to what it wrote when it was stopped"
same a b srv/app
ok $? "  all of it is there"

# --- a service that does not stop
: >"$tmp/b/nostop"
vrrp b FAULT
until_true 10 said b 'does not stop, so it stays online here'
ok $? "FAULT with a service that does not stop: it is said"
vrrp a MASTER
until_true 10 said a 'not started: .*is online on b'
field_is b pg owner b && stands a
ok $? "P4: nobody else gets it"
rm "$tmp/b/nostop"
until_true 20 running a
ok $? "when it stops at last, the other one starts"
stands b && seen a 'last of b'
ok $? "  with the last words"

# --- keepalived changes its mind: the last word counts, whoever comes first to act
: >"$tmp/a/calls"
for s in BACKUP MASTER BACKUP MASTER BACKUP; do vrrp a $s; done
wait "$last"
stands a && field_is a pg state offline
ok $? "five changes at once: the last one counts" || calls a
: >"$tmp/b/nostart"
vrrp b MASTER
until_true 10 said b 'db.service does not start: it is told not to'
ok $? "a service that does not start: it is said"
vrrp b BACKUP; wait "$last"
rm "$tmp/b/nostart"
stands b && field_is b pg state offline
ok $? "  and BACKUP ends that"
# one that was started before the one that acted
ticks=$(awk '{ print $1 }' "$tmp/b/notes/pg.want")
echo "$((ticks + 1000000)) 1 BACKUP" >"$tmp/b/notes/pg.want"
vrrp b MASTER; wait "$last"
stands b
ok $? "one that comes too late does nothing"
rm "$tmp/b/notes/pg.want"

# --- the master dies with its node
vrrp a MASTER; wait "$last"
running a
ok $? "the service runs on a"
echo "word third" >"$tmp/a/root/srv/app/main"
run 0 "P1: sync" a sync pg
crash a
rm -f "$tmp/a/running"
vrrp b MASTER
until_true 30 running b
ok $? "its node dies: b starts when the lease has run out"
seen b 'word third'
ok $? "P1, P5: with what was confirmed"
up a
vrrp a BACKUP; wait "$last"
stands a && field_is a pg owner b
ok $? "P4: the dead node comes back as BACKUP, and takes nothing"

# --- the daemon is away
down b
vrrp b BACKUP
until_true 10 said b 'not offline yet'
ok $? "BACKUP without a daemon: the service stops, and the rest is tried again"
stands b
ok $? "  it stands"
up b
until_true 20 field_is b pg state offline
ok $? "  until the daemon is there"

# --- usage
"$tmp/notify-a" INSTANCE vi WHAT 100; is $? 2 "a state that is none"
"$notify" pg INSTANCE vi MASTER 100 2>/dev/null; is $? 2 "no unit"
"$notify" pg db.service MASTER 2>/dev/null; is $? 2 "without keepalived's arguments"
"$notify" 'p g' db.service INSTANCE vi MASTER 100 2>/dev/null; is $? 2 "a bad name of a resource"
"$notify" pg -x INSTANCE vi MASTER 100 2>/dev/null; is $? 2 "a bad name of a unit"
"$notify" -c "$tmp/none" pg db.service INSTANCE vi MASTER 100 2>/dev/null; is $? 2 "a configuration that is not there"

# --- real keepaliveds
real() {
	local c prio
	for c in a b; do
		: >"$tmp/$c/said"
		rm -rf "$tmp/$c/notes"
		unshare -n sh -c 'echo $$ >"$1"; exec sleep 1000' sh "$tmp/$c/ns" &
		extra_pids="$extra_pids $!"
		until_true 10 test -s "$tmp/$c/ns" || return 1
	done
	nsenter -t "$(cat "$tmp/a/ns")" -n ip link add v0 type veth peer name v0 netns "$(cat "$tmp/b/ns")" || return 1
	prio=100
	for c in a b; do
		nsenter -t "$(cat "$tmp/$c/ns")" -n sh -c "ip link set lo up; ip link set v0 up; ip addr add 10.98.0.$prio/24 dev v0" ||
			return 1
		cat >"$tmp/$c/keepalived.conf" <<-X
		global_defs {
			router_id $c
			script_user root
			vrrp_version 3
		}
		vrrp_instance vi {
			state BACKUP
			nopreempt
			interface v0
			virtual_router_id 77
			priority $prio
			advert_int 0.3
			virtual_ipaddress {
				10.98.0.9/24
			}
			notify "$tmp/notify-$c"
		}
		X
		prio=$((prio - 10))
	done
}
keepalived_up() {
	local d=$tmp/$1
	nsenter -t "$(cat "$d/ns")" -n keepalived -n -l -P -f "$d/keepalived.conf" -p "$d/ka.pid" -r "$d/vrrp.pid" \
		>>"$d/keepalived.log" 2>&1 &
	extra_pids="$extra_pids $!"
	ka[$1]=$!
}
has_ip() { nsenter -t "$(cat "$tmp/$1/ns")" -n ip -o addr show dev v0 | grep -q '10\.98\.0\.9/'; }
declare -A ka
if ! command -v keepalived >/dev/null; then
	echo "# SKIP real keepaliveds: keepalived is not installed (scripts/deps.sh cluster)"
elif [ "$(id -u)" != 0 ] || ! unshare -n true 2>/dev/null; then
	echo "# SKIP real keepaliveds: no network namespaces here"
else
	rm -f "$tmp/both"
	real
	ok $? "two network namespaces, connected"
	keepalived_up a
	until_true 30 running a
	ok $? "keepalived on a: it becomes master, the service starts"
	keepalived_up b
	echo "word fourth" >"$tmp/a/root/srv/app/main"
	run 0 "P1: sync" a sync pg
	until_true 10 test -e "$tmp/b/notes/pg.want"
	has_ip a && stands b
	ok $? "keepalived on b: it stays backup"
	kill -TERM "${ka[a]}" && wait "${ka[a]}"
	until_true 30 running b
	ok $? "keepalived on a is stopped: b starts the service"
	stands a && has_ip b && seen b 'word fourth' && seen b 'last of a'
	ok $? "P5: with what a wrote, to the last; a's has stopped" || cat "$tmp/a/said" "$tmp/a/keepalived.log" | sed 's/^/# /'
	keepalived_up a
	until_true 10 test -s "$tmp/a/vrrp.pid"
	echo "word fifth" >"$tmp/b/root/srv/app/main"
	run 0 "P1: sync on b" b sync pg
	# its power fails: keepalived, daemon and service at once
	kill -KILL "$(cat "$tmp/b/vrrp.pid")" "${ka[b]}"
	crash b
	rm -f "$tmp/b/running"
	until_true 30 running a
	ok $? "b dies: a starts the service when b's lease has run out"
	has_ip a && seen a 'word fifth'
	ok $? "P1: with all that was confirmed"
	kill -TERM "${ka[a]}" && wait "${ka[a]}"
	until_true 20 field_is a pg state offline
	ok $? "keepalived on a is stopped: the resource is released"
fi
[ ! -e "$tmp/early" ]
ok $? "P5: no service was started before its resource was online"
[ ! -e "$tmp/both" ]
ok $? "P4: no service was started beside another"
plan
