#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# W5: views. Which root a path is resolved in, that it cannot leave it, that the same path in
# another view is the same checkpoint, and that no alternate view means the default.
# shellcheck disable=SC2034	# what lib.sh reads
. "$(dirname "$0")/../failover/lib.sh"
cluster a b
A=$tmp/a/root B_=$tmp/b/root
# not the same place on both: what is registered is the view, not where it lies
printf '[view]\n32bit = /srv/compat32\nodd = /srv/odd/\nlink = /srv/link\nnowhere = /srv/nowhere\n' >>"$tmp/a/conf"
printf '[view]\n32bit = /opt/c32\nodd = /srv/odd\nlink = /srv/link\nnowhere = /srv/nowhere\n' >>"$tmp/b/conf"
mkdir -p "$A/etc/app" "$A/srv/compat32/etc/app" "$A/srv/odd/etc/odd" "$A/etc/wide" "$B_/opt/c32" "$B_/srv/odd"
echo native >"$A/etc/app/f"; echo 32 >"$A/srv/compat32/etc/app/f"; echo odd >"$A/srv/odd/etc/odd/f"; echo wide >"$A/etc/wide/f"
up a && up b; ok $? "two nodes"

# one name space
hf a resource add r >/dev/null
run 0 "a path in the view 32bit" a checkpoint add r /etc/app --view 32bit
run 4 "the same path in the native view is there already" a checkpoint add r /etc/app
says err 'view 32bit' "the error names the view that has it"
run 4 "nor in another one" a checkpoint add r /etc/app --view odd
run 4 "nor again in its own" a checkpoint add r /etc/app --view 32bit
run 0 "one in a view of one's own" a checkpoint add r /etc/odd --view odd
run 0 "64bit is not configured: it is the default" a checkpoint add r /etc/wide --view 64bit
run 0 "the list" a --json checkpoint list r
says out '"path":"/etc/app","view":"32bit"' "has the view"
run 2 "a view that no node has" a checkpoint add r /etc/x --view other
says err "knows no view 'other'; add it to \[view\] in $tmp/a/conf" "says what to do"
for v in '' a/b ../x .x "$(printf 'v%.0s' {1..64})"; do
	run 2 "a view called '${v:0:6}'" a checkpoint add r /etc/x --view "$v"
done
mkdir "$A/etc/only"; echo x >"$A/etc/only/f"
run 5 "what the root has and the view has not" a checkpoint add r /etc/only --view odd
says err 'not there' "is missing"

# each is restored where the taking node has that view
run 0 "online" a online r
echo 32b >"$A/srv/compat32/etc/app/f"
run 0 "sync" a sync r
run 0 "offline" a offline r
run 0 "the other node takes it over" b online r
is "$(cat "$B_/opt/c32/etc/app/f" 2>&1)" 32b "W6: 32bit: in that node's root for it"
is "$(cat "$B_/srv/odd/etc/odd/f" 2>&1)" odd "odd: in its own"
is "$(cat "$B_/etc/wide/f" 2>&1)" wide "64bit: in the root of the node"
[ ! -e "$B_/etc/app" ] && [ ! -e "$B_/srv/compat32" ]; ok $? "and nowhere else"
mkdir "$tmp/look"
run 0 "a generation, to look at" b restore r --to "$tmp/look"
is "$(cat "$tmp/look/opt/c32/etc/app/f" 2>&1)" 32b "has each below its view's root"
run 0 "offline" b offline r

# nothing leads out of a view
mkdir -p "$A/srv/odd/in/real" "$A/in/real" "$A/srv/out/deep"; echo inside >"$A/srv/odd/in/real/f"; echo outside >"$A/in/real/f"
echo outside >"$A/srv/out/deep/f"
ln -s /in "$A/srv/odd/abs"; ln -s ../../../../srv/out "$A/srv/odd/up"
hf a resource add s >/dev/null
run 2 "no .." a checkpoint add s /../out --view odd
run 2 "not in the middle either" a checkpoint add s /in/../../out --view odd
run 0 "an absolute symbolic link on the way" a checkpoint add s /abs/real --view odd
run 5 "one that climbs stays in the view, which has no such thing" a checkpoint add s /up/deep --view odd
run 0 "online" a online s
run 0 "offline" a offline s
run 0 "a generation, to look at" a restore s --to "$tmp/look2"
grep -rq inside "$tmp/look2" && ! grep -rq outside "$tmp/look2"; ok $? "what was captured is what the view has"
mkdir -p "$B_/srv/odd" "$B_/in/real"; echo mine >"$B_/in/real/f"; ln -s /in "$B_/srv/odd/abs"; mkdir "$B_/srv/odd/in"
run 0 "and it is restored" b online s
is "$(cat "$B_/in/real/f") $(cat "$B_/srv/odd/in/real/f")" "mine inside" "inside the view, with the link in its way"
hf b offline s >/dev/null

# the root of a view is below the node's
mkdir -p "$tmp/elsewhere/t" "$A/away/t"; echo leak >"$tmp/elsewhere/t/f"; echo kept >"$A/away/t/f"
hf a resource add l >/dev/null
ln -s "$tmp/elsewhere" "$A/srv/link"
run 5 "a root that is a symbolic link out of the node's" a checkpoint add l /t --view link
rm "$A/srv/link"; ln -s /away "$A/srv/link"
run 0 "one that leads about in it" a checkpoint add l /t --view link
run 0 "online" a online l
run 0 "offline" a offline l
run 0 "a generation" a restore l --to "$tmp/look3"
grep -rq kept "$tmp/look3"; ok $? "of what it leads to"
hf a resource add nw >/dev/null
run 5 "a root that is not there" a checkpoint add nw /t --view nowhere
says err "its root /srv/nowhere is not there below $A" "the error names it"
mkdir -p "$A/srv/nowhere/t"; echo x >"$A/srv/nowhere/t/f"; hf a checkpoint add nw /t --view nowhere >/dev/null
run 0 "when it is" a online nw
run 0 "offline" a offline nw
run 5 "nor is it made on the node that takes over" b online nw
says err 'nowhere' "named"
[ ! -e "$B_/srv/nowhere" ]; ok $? "not made"

# one tree under two names
hf a resource add n1 >/dev/null; hf a resource add n2 >/dev/null; hf a resource add n3 >/dev/null
hf a checkpoint add n1 /etc/app --view 32bit >/dev/null
hf a checkpoint add n2 /srv/compat32/etc/app >/dev/null
run 0 "online" a online n1
run 5 "W11: the same tree through another view" a online n2
says err n1 "names the one"; says err n2 "and the other"
hf a offline n1 >/dev/null
run 0 "when that is offline it may" a online n2
hf a offline n2 >/dev/null
hf a checkpoint add n3 /srv/compat32/etc >/dev/null; hf a checkpoint add n3 /etc/app --view 32bit >/dev/null
run 5 "of one resource too: each would restore over the other" a online n3
says err 'overlaps' "said"
hf a checkpoint set n3 /srv/compat32/etc --exclude /app >/dev/null
run 0 "unless the outer one leaves the inner one out" a online n3
hf a offline n3 >/dev/null
down a

# our own state, under whatever name
sed "s#^root = .*#root = $tmp/a#; s#^nowhere.*#mine = /state\nup = /#" "$tmp/a/conf" >"$tmp/a/conf2"; mv "$tmp/a/conf2" "$tmp/a/conf"
up a; ok $? "a node whose state lies below its root"
hf a resource add o >/dev/null
ln -s ../state "$tmp/a/root/mystate"
run 2 "its state, by its name" a checkpoint add o /state/resources
run 2 "through a view" a checkpoint add o /resources --view mine
says err 'keeps its state' "says why"
run 2 "through a symbolic link" a checkpoint add o /root/mystate/resources
run 2 "from above" a checkpoint add o /state --view up
run 0 "what is beside it may" a checkpoint add o /root/etc --view up
plan
