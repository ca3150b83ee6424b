#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Bad input while a cluster runs: every verb that the command has, with arguments that are missing,
# surplus, empty, overlong, not UTF-8 or hostile; every key of the configuration and of `resource
# set` with a bad value; clients on the socket. Nothing changes, and nobody else is disturbed.
# shellcheck disable=SC2034	# what lib.sh reads
. "$(dirname "$0")/../failover/lib.sh"
here=$(cd "$(dirname "$0")" && pwd)
cluster a b
R=$tmp/a/root/srv; mkdir -p "$R/keep"; echo 1 >"$R/keep/f"
up a && up b; ok $? "two nodes"
hf a resource add keep --type t >/dev/null && hf a checkpoint add keep /srv/keep >/dev/null && hf a online keep >/dev/null; ok $? "a resource"
state() {
	hf a --json resource list | sed 's/"warm":{[^}]*}//g; s/_ms":[0-9]*/_ms":0/g'; hf a --json checkpoint list
	hf a --json resource show keep | sed 's/_ms":[0-9]*/_ms":0/g'; hf a --json history keep
	find "$tmp/a" "$tmp/b" -path "$tmp/*/state" -prune -o -print | sort; cat "$R/keep/f"
}
state >"$tmp/before"
cd "$tmp/a/root" || exit 1	# what a command might make by mistake is seen there

long=$(printf 'x%.0s' {1..5000})
hostile=("" "$long" $'caf\xe9' $'\xc0\xaf' $'\xed\xa0\x80' $'\x1b[31mred' $'a\nb' $'\x7f')
# one CODE-IS-2: one line on stderr, printable, nothing on stdout
refused() {
	hf a "$@" >"$tmp/out" 2>"$tmp/err"
	local rc=$?
	[ $rc = 2 ] && [ "$(wc -l <"$tmp/err")" = 1 ] && [ ! -s "$tmp/out" ] && ! LC_ALL=C grep -q $'[^\t -~]' "$tmp/err" && return 0
	printf 'exit %s: %s\n' $rc "$(printf '%q ' "$@" | cut -c1-150)" >>"$tmp/why"
	return 1
}
# what follows `run R` is a command, which may be called anything (cli/usage.t)
mapfile -t verbs < <(hf a help | sed -n 's/^  \([a-z][a-z -]*[a-z]\)  .*/\1/p' | grep -v -e '^help' -e '^version' -e '^run$')
[ "${#verbs[@]}" -gt 40 ]; ok $? "${#verbs[@]} verbs are known by \`holdfast help\`"
for verb in "${verbs[@]}"; do
	# shellcheck disable=SC2206
	v=($verb) bad=0
	: >"$tmp/why"
	for h in "${hostile[@]}"; do
		refused "${v[@]}" "$h" || bad=1
		refused "${v[@]}" keep "$h" || bad=1
		refused "${v[@]}" --name "$h" || bad=1
	done
	refused "${v[@]}" a b c d e f g h i j k l m n o p || bad=1
	refused "${v[@]}" --no-such-option || bad=1
	refused "${v[@]}" -Z || bad=1
	refused "${v[@]}" --json=yes || bad=1
	refused "${v[@]}" "--$(printf '\xe9')" || bad=1
	refused -c "" "${v[@]}" || bad=1
	refused "${v[@]}" -c || bad=1
	why=$(head -5 "$tmp/why")
	ok $bad "$verb"
done
# words that a shell, a format or a path would make something of
bad=0 i=0
: >"$tmp/why"
# shellcheck disable=SC2016
for h in '../keep' '/etc/passwd' '.' '..' '$(touch pwned)' '`touch pwned`' ';touch pwned' '%n%s%n' '*' 'a b' 'keep/../x' '-x' 'keep@..'; do
	for verb in "resource show" "resource delete" "resource add" "resource reset" "resource rebuild" online offline sync status history; do
		# shellcheck disable=SC2206
		v=($verb)
		refused "${v[@]}" -- "$h" || bad=1
		i=$((i + 1))
	done
done
why=$(head -5 "$tmp/why"); ok $bad "$i hostile names are no names"
for h in '/proc/1' '/sys/kernel' '/dev' '/' '//' '/./' '/srv/../etc' "/$(printf 'n%.0s' {1..256})"; do
	run 2 "a checkpoint at ${h:0:12}" a checkpoint add keep "$h"
done
[ ! -e pwned ]; ok $? "nothing was run"
# policies: each key with what it cannot be
while read -r key value; do
	hf a resource set keep "$key=$value" >"$tmp/out" 2>"$tmp/err"; rc=$?
	why="exit $rc: $(cat "$tmp/err")"
	[ $rc = 2 ] && grep -q "$key: .*\(write\|is not known\)" "$tmp/err" && [ "$(wc -l <"$tmp/err")" = 1 ]; ok $? "resource set $key=$value: refused, with what would be right"
done <<'X'
settle 5
settle -5ms
min-pause 1y
commit-timeout 0s
tolerate -1
on-exceed explode
rpo 5
retain many
takeover-from oldest
owners nobody
sockets maybe
delete-guard 101%
strict-stop perhaps
X
run 2 "an unknown policy" a resource set keep settel=5ms
run 2 "one good and one bad" a resource set keep settle=20ms rpo=x
run 2 "a policy that this version has not" a resource set keep sync-mode=on
run 2 "another" a resource set keep validate=x

# configuration: file, line, key, what would be right; by command and daemon
conf() { # conf NAME LINE PATTERN TEXT
	printf '%b' "$4" >"$tmp/bad.conf"
	timeout 20 "$B/holdfast" -c "$tmp/bad.conf" status >"$tmp/out" 2>"$tmp/err" </dev/null; local rc=$?
	timeout 20 "$B/holdfastd" -c "$tmp/bad.conf" >/dev/null 2>"$tmp/err2" </dev/null; local rd=$?
	why="command $rc, daemon $rd; $(cat "$tmp/err" "$tmp/err2")"
	[ $rc = 2 ] && [ $rd = 2 ] && [ "$(wc -l <"$tmp/err")" = 1 ] &&
		grep -q -e "$tmp/bad.conf:$2: $3" "$tmp/err" && grep -q -e "$tmp/bad.conf:$2: $3" "$tmp/err2"
	ok $? "$1"
}
conf "an unknown key" 2 '\[node\] naem: unknown key; \[node\] has name, root, state_dir' '[node]\nnaem = x\n'
conf "an unknown section" 2 "\[nod\] name: unknown section 'nod'; there are \[node\], \[store\], .*\[view\]" '[nod]\nname = x\n'
conf "a key without a section" 1 '\[\] name: unknown section' 'name = x\n'
conf "a line that is neither" 2 'neither \[section\] nor key = value' '[node]\nnonsense\n'
conf "a key twice" 3 '\[node\] name: .*second time' '[node]\nname = a\nname = b\n'
while read -r section key value want; do
	conf "[$section] $key = ${value:0:20}" 3 "\[$section\] $key: .*$want" "# a comment\n[$section]\n$key = $value\n"
done <<X
node name a/b write
node root relative write
node state_dir x write
node runtime_dir x write
node key_file x write
node hooks_dir x write
store url http://x write
store url disk:relative write
store url dir:x write
track source magic write
track require hope write
track scrub 5 write
track scrub 1ms write
access read_group a/b group
displaced keep 5 write
displaced size lots write
standby memory much write
standby rate 1 write
view 32bit relative write
view 32bit /a/.. write
view native /x view
view a/b /x view
X
conf "a name that is not UTF-8" 2 '\[node\] name: ' '[node]\nname = caf\xe9\n'
printf '[node]\nname = a\0b\n' >"$tmp/nul.conf"
timeout 20 "$B/holdfast" -c "$tmp/nul.conf" status >"$tmp/out" 2>"$tmp/err"; is $? 2 "NUL bytes"
{ printf '[node]\nname = '; printf 'x%.0s' {1..9000}; echo; } >"$tmp/long.conf"
timeout 20 "$B/holdfast" -c "$tmp/long.conf" status >"$tmp/out" 2>"$tmp/err"; is $? 2 "an endless line"
says err "$tmp/long.conf:2: " "with file and line"
timeout 20 "$B/holdfast" -c "$tmp" status >"$tmp/out" 2>"$tmp/err"; is $? 2 "a directory"
cp "$tmp/a/conf" "$tmp/d.conf"; mkdir "$tmp/d.conf.d"; printf '\n\n[track]\nscrub = often\n' >"$tmp/d.conf.d/50-x.conf"
timeout 20 "$B/holdfast" -c "$tmp/d.conf" status >"$tmp/out" 2>"$tmp/err"; is $? 2 "a drop-in"
says err "$tmp/d.conf.d/50-x.conf:4: \[track\] scrub: 'often'" "is named itself"

# clients, meanwhile
( for _ in $(seq 400); do hf b status >/dev/null || echo failed; sleep 0.05; done ) >"$tmp/others" 2>&1 & extra_pids="$extra_pids $!"; others=$!
timeout 180 "$PY" "$here/flood.py" "$tmp/a/run/holdfastd.sock" "${pid[a]}" >"$tmp/flood" 2>"$tmp/err"
while read -r line; do
	case $line in
	"ok "*) ok 0 "${line#ok }" ;;
	*) why=$line; ok 1 "${line#not ok }" ;;
	esac
done <"$tmp/flood"
[ "$(wc -l <"$tmp/flood")" -ge 17 ]; ok $? "all of that was tried"
kill $others 2>/dev/null; wait $others 2>/dev/null
[ ! -s "$tmp/others" ]; ok $? "the other node's daemon did not notice"
state >"$tmp/after"
sed -i '/conf$/d' "$tmp/before" "$tmp/after"
why=$(diff "$tmp/before" "$tmp/after" | head -20); [ -z "$why" ]; ok $? "nothing was changed by any of this"
# who may only read
if getent group nogroup >/dev/null; then
	down a; printf '[access]\nread_group = nogroup\n' >>"$tmp/a/conf"; up a; until_true 10 field_is a keep state online; ok $? "a group may read"
	chmod 755 "$tmp" "$tmp/a" "$tmp/a/run"
	setpriv --reuid 65534 --regid 65534 --clear-groups "$PY" -c "
import socket, time
held = []
for i in range(1000):
    try:
        s = socket.socket(socket.AF_UNIX); s.connect('$tmp/a/run/holdfastd.sock'); held.append(s)
    except OSError: break
print(len(held), flush=True); time.sleep(60)" >"$tmp/held" & extra_pids="$extra_pids $!"; reader=$!
	until_true 20 test -s "$tmp/held"; ok $? "P10: one of it opens $(cat "$tmp/held") connections"
	bad=0
	for _ in $(seq 20); do hf a sync keep >/dev/null 2>&1 || bad=1; done
	ok $bad "root is served each time"
	kill $reader; wait $reader 2>/dev/null
else
	ok 0 "readers that open 1,000 connections # SKIP there is no group nogroup"
fi
run 0 "and all is well" a sync keep
plan
