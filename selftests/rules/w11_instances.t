#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# W11: two instances on one node may not own the same files, in whatever form their trees overlap;
# both are named, neither is touched. %n and %i in a path solve it.
# shellcheck disable=SC2034	# what lib.sh reads
. "$(dirname "$0")/../failover/lib.sh"
cluster a b
R=$tmp/a/root/srv
mkdir -p "$R/t/sub/deep" "$R/beside" "$R/tt"; echo one >"$R/t/f"; echo two >"$R/t/sub/f"; echo three >"$R/t/sub/deep/f"; echo b >"$R/beside/f"
echo tt >"$R/tt/f"
up a && up b; ok $? "two nodes"
hf a resource add first >/dev/null && hf a checkpoint add first /srv/t >/dev/null && hf a online first >/dev/null; ok $? "the first instance is online"
N=0
# collides FORM PATH: a second instance with it is refused, with both names and both paths
collides() {
	local form=$1 path=$2 r
	N=$((N + 1)) r=second$N
	hf a resource add "$r" >/dev/null; hf a checkpoint add "$r" "$path" --allow-empty >/dev/null 2>"$tmp/err" || { ok 1 "$form: registered"; return; }
	says err "warning: $path of $r overlaps /srv/t of first: the two cannot be online on the same node" "$form: warned of when it is registered"
	run 5 "$form: dry run" a online "$r" --dry-run --allow-empty
	run 5 "$form: refused" a online "$r" --allow-empty
	why=$(cat "$tmp/err")
	grep -q "$r: its tree $path overlaps /srv/t of first, which is online on this node" "$tmp/err"; ok $? "$form: both are named"
	is "$(field a "$r" state) $(field a first state)" "offline online" "$form: neither is disturbed"
}
collides equal /srv/t
collides inside /srv/t/sub
collides "deep inside" /srv/t/sub/deep
collides around /srv
collides "one file inside" /srv/t/sub/f
ln -s t "$R/link"; ln -s /srv/t/sub "$R/abs"
collides "through a symbolic link on the way" /srv/link/sub
collides "through an absolute one" /srv/abs/deep
mkdir -p "$R/bind" "$R/up" "$R/filebind"
if mount --bind "$R/t" "$R/bind" 2>/dev/null; then
	extra_mounts="$R/bind"
	collides "a bind mount of it" /srv/bind
	collides "inside a bind mount" /srv/bind/sub/deep
	mount --bind "$R/t/sub" "$R/up"; extra_mounts="$R/bind $R/up"
	collides "a bind mount of a part" /srv/up
	collides "a part of a bind mount of a part" /srv/up/deep
	mkdir "$R/ro"; mount --bind "$R/bind" "$R/ro" && mount -o remount,bind,ro "$R/ro"; extra_mounts="$R/bind $R/up $R/ro"
	collides "a bind mount of a bind mount, read-only" /srv/ro/sub
	umount "$R/ro" "$R/up" "$R/bind"; extra_mounts=
else
	ok 0 "bind mounts # SKIP nothing can be mounted here"
fi

# what only looks like it
hf a resource delete second4 --yes >/dev/null	# it has all of /srv
hf a resource add beside >/dev/null; hf a checkpoint add beside /srv/beside >/dev/null
run 0 "a directory beside it" a online beside
hf a resource add tt >/dev/null; hf a checkpoint add tt /srv/tt >/dev/null 2>"$tmp/err"
! grep /srv/t\  "$tmp/err"; ok $? "one whose name begins alike: no warning of /srv/t"
run 0 "one whose name begins alike" a online tt
if mkdir -p "$R/t/mnt" && mount -t tmpfs none "$R/t/mnt" 2>/dev/null; then
	extra_mounts="$R/t/mnt"; mkdir "$R/t/mnt/x"; echo m >"$R/t/mnt/x/f"
	hf a resource add mnt >/dev/null; hf a checkpoint add mnt /srv/t/mnt/x >/dev/null
	run 0 "another filesystem that is mounted inside: the first does not own it" a online mnt
	hf a offline mnt >/dev/null; umount "$R/t/mnt"; extra_mounts=
else
	ok 0 "another filesystem inside # SKIP nothing can be mounted here"
fi

# found before it is online anywhere, and where a tree is not there
hf a resource add later >/dev/null
run 0 "what is not there yet is registered all the same" a checkpoint add later /srv/tt/none/sub --allow-empty
says err 'warning: .* overlaps /srv/tt of tt' "with a warning, by its name"
run 0 "--json" a --json checkpoint add later /srv/beside/x --allow-empty
says out '"overlaps":.{"resource":"beside","path":"/srv/beside"}]' "tells it too"
run 0 "a path of its own" a checkpoint add later /srv/alone --allow-empty
[ ! -s "$tmp/err" ] && ! grep -q overlaps "$tmp/out"; ok $? "needs no warning"
hf a resource delete later --yes >/dev/null

# added while online
run 5 "a checkpoint that is added to an instance that is online" a checkpoint add beside /srv/t/sub
says err 'first' "names the one"; says err 'beside' "and the other"
run 5 "added through another node" b checkpoint add beside /srv/t/sub --allow-empty
says err 'first' "and the reason comes back"
# what another node changed is known with the next heartbeat
until_true 5 eval '! hf a --json checkpoint list beside | grep -q /srv/t/sub'; ok $? "nothing of it stays registered"
is "$(field a beside state)" online "and what was online is"

# a root that comes to lie on another's
mv "$R/beside" "$R/away"; mv "$R/t" "$R/beside"; ln -s beside "$R/t"
hf a sync beside >"$tmp/out" 2>"$tmp/err"; [ $? != 0 ]; ok $? "a root that was replaced by another's is not taken up"
rm "$R/t"; mv "$R/beside" "$R/t"; mv "$R/away" "$R/beside"
until_true 10 eval 'hf a sync beside && hf a sync first'; ok $? "and all is well when it is put right"

# the place is free when its owner has gone
hf a offline first >/dev/null
run 0 "the first is offline: another may" a online second1
run 5 "and now the first may not" a online first
says err 'second1' "names who has it"
# at the same moment
hf a offline second1 >/dev/null
wins=0
for i in 1 2 3 4 5; do
	hf a online first >/dev/null 2>&1 & p1=$!
	hf a online second1 >/dev/null 2>&1 & p2=$!
	hf a online second2 --allow-empty >/dev/null 2>&1 & p3=$!
	got=0
	for p in $p1 $p2 $p3; do wait $p && got=$((got + 1)); done
	[ $got = 1 ] && wins=$((wins + 1))
	for r in first second1 second2; do hf a offline $r >/dev/null 2>&1; done
done
is $wins 5 "of three at the same moment one gets it, each time"

# what solves it
for i in one two; do
	mkdir -p "$R/pg/$i"; echo "$i" >"$R/pg/$i/f"
	hf a resource add "pg@$i" >/dev/null; hf a checkpoint add "pg@$i" /srv/pg/%i >/dev/null 2>"$tmp/err"; ok $? "pg@$i has /srv/pg/%i"
	! grep 'overlaps .* of pg@' "$tmp/err"; ok $? "which does not overlap the other's"
	run 0 "and is online beside the other" a online "pg@$i"
done
mkdir -p "$R/by/a" "$tmp/b/root/srv/by"; echo node >"$R/by/a/f"
hf a resource add bynode >/dev/null; hf a checkpoint add bynode /srv/by/%n >/dev/null
run 0 "%n is the node's name" a online bynode
hf a offline bynode >/dev/null; run 0 "on the other node it is that one's" b online bynode
is "$(cat "$tmp/b/root/srv/by/b/f")" node "and the same files"
hf a offline pg@one >/dev/null; run 0 "one instance moves" b online pg@one
is "$(cat "$tmp/b/root/srv/pg/one/f") $(ls "$tmp/b/root/srv/pg")" "one one" "and it alone"
is "$(field a pg@two state)" online "while the other stays"
plan
