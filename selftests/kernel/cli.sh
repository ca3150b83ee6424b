#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# `holdfast module` and `holdfast tree` with the module: what they say, what they
# refuse, who may. Needs hfnl, the command and the module in their places.

n=0 failed=0
tmp=$(mktemp -d) || exit 1
here=$(dirname "$0")
export PATH=$here:$PATH
pids=
cleanup() {
	exec 3>&- 4>&-
	for p in $pids; do
		kill -KILL "$p" 2>/dev/null
		wait "$p" 2>/dev/null
	done
	rm -rf "$tmp"
}
trap cleanup EXIT
trap 'exit 1' INT TERM HUP

ok() { # STATUS NAME
	n=$((n + 1))
	if [ "$1" -eq 0 ]; then
		echo "ok $n - $2"
	else
		echo "not ok $n - $2"
		failed=1
		sed 's/^/# out: /' "$tmp/out" | tail -n 12
		sed 's/^/# err: /' "$tmp/err" | tail -n 12
	fi
}
# run WANT NAME ARG...: `holdfast ARG...` must exit with WANT
run() {
	want=$1 name=$2
	shift 2
	timeout 120 holdfast "$@" >"$tmp/out" 2>"$tmp/err" </dev/null
	code=$?
	[ $code = "$want" ]
	ok $? "$name: exit $want (was $code)"
}
# as_user WANT NAME ARG...: the same without privilege
as_user() {
	want=$1 name=$2
	shift 2
	timeout 120 su user -c "holdfast $*" >"$tmp/out" 2>"$tmp/err" </dev/null
	code=$?
	[ $code = "$want" ]
	ok $? "$name: exit $want (was $code)"
}
has() { # WHERE TEXT NAME
	grep -q -F -e "$2" "$tmp/$1"
	ok $? "$3"
}
hasnt() {
	! grep -q -F -e "$2" "$tmp/$1"
	ok $? "$3"
}
# soon COMMAND...: as an event comes when it comes
soon() {
	local i
	for ((i = 0; i < 600; i++)); do
		"$@" && return 0
		sleep 0.1
	done
	return 1
}
# hold FD NAME ARG...: an hfnl that reads FD; its id in $id
hold() {
	local fd=$1 name=$2
	shift 2
	mkfifo "$tmp/$name.in"
	# not the other's input as well, or that would have no end
	hfnl hold "$@" <"$tmp/$name.in" >"$tmp/$name.out" 2>"$tmp/$name.err" 3>&- 4>&- &
	pids="$pids $!"
	eval "exec $fd>\"\$tmp/\$name.in\""
	soon grep -q '^tree ' "$tmp/$name.out"
	id=$(sed -n 's/^tree \([0-9]*\) .*/\1/p' "$tmp/$name.out")
}
# tell FD NAME COMMAND: waits until it is done
tell() {
	local before
	before=$(grep -c -e '^done' -e '^failed' "$tmp/$2.out")
	echo "$3" >&"$1"
	soon more_done "$2" "$before"
}
more_done() {
	[ "$(grep -c -e '^done' -e '^failed' "$tmp/$1.out")" -gt "$2" ]
}
attached() {
	holdfast tree list >"$tmp/list" 2>&1
	grep -q "^$1 .*attached" "$tmp/list"
}
detached() {
	! attached "$1"
}

echo "TAP version 13"
if ! command -v holdfast >/dev/null || ! command -v hfnl >/dev/null || ! modinfo holdfast >/dev/null 2>&1; then
	echo "1..0 # SKIP holdfast, hfnl or holdfast.ko is not there"
	exit 4
fi
if [ -d /sys/module/holdfast ]; then
	rmmod holdfast || { echo "Bail out! holdfast.ko is loaded, and in use"; exit 1; }
fi
release=$(uname -r)

# --- without the module
run 3 "status, not loaded" module status
has out "not loaded" "it says so"
has out "what to do: run holdfast module load" "and what to do"
run 3 "the same for programs" module status --json
has out '"loaded":false' "it says so"
has out '"reason":"loadable"' "that nothing stands against it"
has out "\"release\":\"$release\"" "and for which kernel"
for verb in "tree list" "tree dirty" "tree events" "tree delete 1" "tree list pg"; do
	# shellcheck disable=SC2086
	run 3 "$verb without the module" $verb
	has err "holdfast.ko is not loaded; load it with holdfast module load" "$verb says what to do"
done
[ ! -d /sys/module/holdfast ]
ok $? "and none of them loaded it"
run 0 "unload, not loaded" module unload
has out "is not loaded" "it says so"
as_user 9 "load without privilege" module load
has err "run it as root" "it says what to do"

# --- a kernel that it is not built for
ko=$(modinfo -n holdfast)
mkdir -p /lib/modules/9.9.9-other/extra
cp "$ko" /lib/modules/9.9.9-other/extra/
mv "$ko" "$tmp/holdfast.ko"
depmod -a
run 3 "status, not built for this kernel" module status --json
has out '"reason":"not-built"' "the reason"
has out "linux-headers-$release" "names the headers"
has out '"built_for":"9.9.9-other"' "and what it is built for"
run 3 "load, not built for this kernel" module load
has err "make module-install" "says what to do"
mv "$tmp/holdfast.ko" "$ko"
rm -r /lib/modules/9.9.9-other
run 3 "status, not in the index" module status
has out "depmod -a" "says what to do"
depmod -a

# --- loading
run 0 "load" module load
has out "holdfast.ko is loaded" "it says so"
run 0 "load again" module load --json
has out '{"loaded":true,"already":true}' "it is loaded already"
run 0 "status, loaded" module status
has out "0 directories of" "the bound of marks"
has out "to shared mappings are noted" "stores are noted"
run 0 "status for programs" module status --json
# a kernel that knows no signatures misses none
taint=O
[ ! -e /sys/module/module/parameters/sig_enforce ] || taint=OE
for want in '"loaded":true' '"abi":1' '"trees":0' '"marks":0' '"is_loaded":true' '"signed":false' "\"taint\":\"$taint\"" \
	"\"path\":\"$ko\"" "\"version\":\"$(modinfo -F version holdfast)\"" \
	"\"srcversion\":\"$(modinfo -F srcversion holdfast)\"" '"dirty_max":' '"marks_max":' '"seq":' \
	'"stores":true'; do
	has out "$want" "status has $want"
done
as_user 0 "status without privilege" module status
has out "not told: not permitted" "the figures are not told"
run 0 "no trees" tree list
has out "the module has no tree" "it says so"
run 0 "nothing dirty" tree dirty --json
has out '{"dirty":[]}' "an empty list"
for verb in "tree list" "tree dirty" "tree events" "tree delete 1" "module unload" "module reload"; do
	as_user 9 "P10: $verb without privilege" "$verb"
	has err "run it as root" "$verb says what to do"
done
for ns in "-n:network namespace" "-Ur:CAP_NET_ADMIN outside of containers"; do
	timeout 120 unshare "${ns%%:*}" holdfast tree list >"$tmp/out" 2>"$tmp/err"
	code=$?
	[ $code = 9 ]
	ok $? "P10: in another namespace (${ns%%:*}): exit 9 (was $code)"
	has err "${ns#*:}" "it says why"
done

# --- trees
mkdir -p "$tmp/pg/sub" "$tmp/cups"
chmod 755 "$tmp"
chmod 1777 "$tmp/pg"
hold 3 one pg "$tmp/pg"
one=$id
hold 4 two cups "$tmp/cups"
two=$id
run 0 "list" tree list
has out "$tmp/pg" "names the path"
grep -q "^$one *pg .*attached.* 2 .*" "$tmp/out"
ok $? "a tree of two directories with a consumer"
grep -q '^ID .* QUALITY  *STORES ' "$tmp/out" && grep -q "^$one .* events  *noted " "$tmp/out"
ok $? "which is known by its events, and stores by them too"
run 0 "list of one resource" tree list cups --json
has out "\"id\":$two,\"resource\":\"cups\",\"path\":\"$tmp/cups\",\"flags\":[\"attached\"],\"quality\":\"events\",\"stores\":true," \
	"has it"
has out '"consumer":"hfnl","marks":1' "whose it is, and how large"
hasnt out '"pg"' "and no other"
for verb in list dirty events; do
	run 3 "tree $verb of an unknown resource" tree $verb nosuch
	has err "no tree of nosuch" "tree $verb says so"
done
mkdir -p "$tmp/lower" "$tmp/merged"
mount -t tmpfs tmpfs "$tmp/lower" && mkdir "$tmp/lower/l" "$tmp/lower/u" "$tmp/lower/w"
mount -t overlay -o "lowerdir=$tmp/lower/l,upperdir=$tmp/lower/u,workdir=$tmp/lower/w" overlay "$tmp/merged"
hfnl resource over , add "$tmp/merged" >"$tmp/over.out"
run 0 "list of one on an overlay" tree list over --json
has out '"quality":"scan"' "which is to be scanned"
run 0 "the same in words" tree list over
grep -q "/merged .* scan " "$tmp/out"
ok $? "says so"
run 0 "delete it" tree delete "$(sed -n 's/^tree \([0-9]*\) .*/\1/p' "$tmp/over.out")" --yes
umount "$tmp/merged"
umount "$tmp/lower"
run 0 "status counts" module status --json
has out '"trees":2,"marks":3' "trees and marks"
run 5 "unload, with trees" module unload
has err "2 trees are registered ($one pg $tmp/pg, $two cups $tmp/cups)" "names them"
has err "holdfast tree delete ID" "and what to do"
run 5 "reload, with trees" module reload
[ -d /sys/module/holdfast ]
ok $? "it is still there"
run 5 "delete a tree in use" tree delete "$one" --yes
has err "is in use by a daemon" "says so"
run 3 "delete one that is not there" tree delete 4000000000 --yes

# --- what is dirty, and who did it
su user -c "echo x >'$tmp/pg/by user'"
printf x >"$tmp/pg/sub/"$'new\nline'
printf x >"$tmp/pg/caf"$'\xe9'
printf x >"$tmp/pg/caf"$'\xc3\xa9'
printf x >"$tmp/pg/back\\slash"
mkdir "$tmp/pg/dir"
run 0 "dirty" tree dirty pg
grep -q ' user .* sh  *.*/by user$' "$tmp/out" && grep -q ' root .*/sub/new' "$tmp/out"
ok $? "who did it"
[ "$(wc -l <"$tmp/out")" -ge 7 ]
ok $? "a line for each"
has out 'sub/new\x0aline' "a newline is escaped"
run 0 "dirty for programs" tree dirty pg --json
[ "$(wc -l <"$tmp/out")" = 1 ]
ok $? "one line"
for want in '"rel":"sub/new\\x0aline"' '"rel":"caf\\xe9"' $'"rel":"caf\xc3\xa9"' '"rel":"back\\x5cslash"' '"rel":"dir"' \
	'"state":["subtree"]' '"user":"user"' '"uid":1000' "\"path\":\"$tmp/pg\"" '"close-write"' '"age_ms":'; do
	has out "$want" "has $want"
done
run 0 "nothing of the other" tree dirty cups --json
has out '{"dirty":[]}' "nothing"
run 0 "list tells of it" tree list pg --json
has out '"oldest_dirty_ms":' "how old"
tell 3 one settle
run 0 "acknowledged" tree dirty --json
has out '{"dirty":[]}' "nothing is left"

# --- a dump while things change (P2)
for ((i = 0; i < 2000; i++)); do : >"$tmp/pg/d$i"; done
(while :; do : >"$tmp/pg/churn" && rm "$tmp/pg/churn"; done) 2>/dev/null &
churn=$!
pids="$pids $churn"
run 0 "dump under load" tree dirty pg --json
kill -KILL $churn
{ wait $churn; } 2>/dev/null
tr '}' '\n' <"$tmp/out" | sed -n 's/.*"rel":"\(d[0-9]*\)".*/\1/p' | sort -u >"$tmp/names"
[ "$(wc -l <"$tmp/names")" = 2000 ]
ok $? "P2: all that was dirty before is in it ($(wc -l <"$tmp/names") of 2000)"
tell 3 one settle

# --- events
# events ARG...: starts it; its output in $tmp/ev, ready when it returns
events() {
	rm -f "$tmp/ev" "$tmp/ev.err"
	holdfast tree events "$@" >"$tmp/ev" 2>"$tmp/ev.err" &
	ev=$!
	pids="$pids $ev"
	soon grep -q listening "$tmp/ev.err"
}
ended() { # WANT NAME
	wait $ev
	code=$?
	cp "$tmp/ev" "$tmp/out"
	cp "$tmp/ev.err" "$tmp/err"
	[ $code = "$1" ]
	ok $? "$2: exit $1 (was $code)"
}
events pg --count 2 --timeout 60s
: >"$tmp/cups/other"
: >"$tmp/pg/x1"
: >"$tmp/pg/x2"
ended 0 "events until there are enough"
has out "$tmp/pg/x1" "tells of the change"
has out "by root" "and who"
hasnt out "$tmp/cups" "of one resource only"
events --json
: >"$tmp/cups/y"
: >"$tmp/pg/y"
soon grep -q "\"rel\":\"y\".*\"resource\":\"cups\"" "$tmp/ev" && soon grep -q "\"rel\":\"y\".*\"resource\":\"pg\"" "$tmp/ev"
ok $? "events of all trees, for programs"
kill -TERM $ev
ended 0 "SIGTERM ends it"
events pg
kill -INT $ev
ended 0 "SIGINT too"
events --timeout 100ms
ended 0 "so does the timeout"
events --count 1 --timeout 100ms
ended 1 "too few until then"
has err "1 of the events" "says so"

events pg
: >"$tmp/pg/first"
soon grep -q first "$tmp/ev"
ok $? "an event before the loss"
kill -STOP $ev
# drops of a socket are in the ninth column
for ((i = 0; i < 30000; i++)); do
	: >"$tmp/pg/l$i"
	((i % 250)) || ! awk '$2 == 16 && $9 > 0 { f = 1 } END { exit !f }' /proc/net/netlink || break
done
kill -CONT $ev
soon grep -q "some events were lost" "$tmp/ev"
ok $? "loss is told"
tell 3 one settle
# nothing comes in before all that was queued has been read
again() {
	k=$((k + 1))
	: >"$tmp/pg/last$k"
	grep -q /last "$tmp/ev"
}
k=0
soon again
ok $? "and it goes on"
grep -q "some events were lost: [0-9]* of tree $one" "$tmp/ev"
ok $? "with the number that is missing"
kill -TERM $ev
ended 0 "and ends"
tail -n 3 "$tmp/ev" >"$tmp/out"

# --- a tree that nobody comes back for
exec 3>&-
soon detached "$one"
ok $? "its consumer has gone"
run 0 "it is still there" tree list pg --json
has out '"flags":[]' "without a consumer"
: >"$tmp/pg/after"
run 0 "and collects (P2)" tree dirty pg --json
has out '"rel":"after"' "what changed since"
run 0 "delete, only said" tree delete "$one" --dry-run
has out "would be deleted" "it says so"
run 0 "it is there" tree list pg
run 0 "delete" tree delete "$one" --yes
run 3 "it is not there" tree list pg
run 3 "delete again" tree delete "$one"
exec 4>&-
soon detached "$two"
run 0 "delete the other one" tree delete "$two"
has out "is deleted" "it says so"

# --- unloading
run 0 "reload" module reload
has out "is loaded" "it says so"
run 0 "unload" module unload
has out "is unloaded" "it says so"
run 0 "unload again" module unload --json
has out '{"loaded":false,"already":true}' "it was so already"
run 0 "reload loads" module reload

# --- without the tracepoint that tells of stores
# stores VALUE: the module with another tracepoint; what status says in $tmp/out
stores() {
	rmmod holdfast
	modprobe holdfast stores_tracepoint="$1"
	ok $? "it is loaded with the tracepoint '$1'"
	run 0 "status" module status
	has out "to shared mappings are missed" "it says that stores are not noted"
	has out "what to do: take stores_tracepoint out of modprobe.d" "and what to do"
}
stores ""
has out "stores_tracepoint is empty" "and why"
stores no_such_tracepoint
has out "this kernel has no tracepoint no_such_tracepoint" "and why"
run 0 "the same for programs" module status --json
has out '"stores":false' "the answer"
has out '"stores_why":"this kernel has no' "the reason"
has out '"stores_what":"take ' "what to do"
hfnl resource pg , add "$tmp/pg" >"$tmp/pg.out"
run 0 "a tree then" tree list pg
grep -q "$tmp/pg .* events  *missed " "$tmp/out"
ok $? "has no stores noted"
run 0 "the same for programs" tree list pg --json
has out '"stores":false' "either"
run 0 "it is deleted" tree delete "$(sed -n 's/^tree \([0-9]*\) .*/\1/p' "$tmp/pg.out")" --yes
run 0 "unload at the end" module unload
[ ! -d /sys/module/holdfast ]
ok $? "it has gone"

echo "1..$n"
exit $failed
