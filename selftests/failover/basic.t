#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A tree follows its resource: sync, crash, takeover, the stale owner's return, moves.
. "$(dirname "$0")/lib.sh"
cluster a b
A=$tmp/a/root/srv/pg Bd=$tmp/b/root/srv/pg
up a; ok $? "a starts"
up b; ok $? "b starts"

mkdir -p "$A/conf.d"
for i in $(seq 50); do echo "value $i" >"$A/conf.d/$i.conf"; done
ln -s conf.d/1.conf "$A/link"
printf 'x\0y' >"$A/bin"
setfattr -n user.test -v hello "$A/bin"
chown daemon:adm "$A/conf.d/3.conf"; chmod 4750 "$A/conf.d/3.conf"
touch -d '2001-02-03 04:05:06.789' "$A/conf.d/4.conf"
truncate -s 1M "$A/sparse"; echo tail >>"$A/sparse"

run 0 "resource add" a resource add pg --type postgresql
run 4 "the same resource again" b resource add pg
run 0 "checkpoint add" a checkpoint add pg /srv/pg
run 5 "sync before online is refused" a sync pg
run 0 "online on a" a online pg
run 0 "online again is no error" a online pg
run 5 "P4: online elsewhere is refused while the owner lives" b online pg
says err 'a' "and the owner is named"
run 5 "sync on a node that is not the owner" b sync pg
says err ' a;' "names the owner"

echo changed >"$A/conf.d/5.conf"
rm "$A/conf.d/6.conf"
mkdir "$A/new"; echo n >"$A/new/n"
mv "$A/conf.d/7.conf" "$A/new/seven"
run 0 "sync" a sync pg
run 0 "diff is empty after sync" a diff pg
is "$(wc -c <"$tmp/out")" 0 "really empty"
echo more >>"$A/bin"
run 0 "sync --quick" a sync pg --quick
cp -a "$A" "$tmp/oracle"

crash a
echo never-synced >"$A/late"
echo changed-late >"$A/conf.d/8.conf"
run 0 "online --fenced on b" b online pg --fenced
why=$(rsync -aHAXc --delete --dry-run -i "$tmp/oracle/" "$Bd/"); [ -z "$why" ]
ok $? "P1 P6: b has everything that was synced, byte for byte, with metadata"
run 0 "diff on b" b diff pg
is "$(wc -c <"$tmp/out")" 0 "b differs in nothing"
run 0 "b commits" b sync pg
echo from-b >"$Bd/from-b"
run 0 "b commits its own change" b sync pg

up a; ok $? "a comes back"
until_true 10 field_is a pg unconfirmed.count 3
is "$(field a pg unconfirmed.count)" 3 "P4: a says what it held that was never confirmed (late, 8.conf, the directory)"
is "$(field a pg owner)" b "a knows the owner"
run 6 "sync on the stale node" a sync pg
run 0 "displaced list" a --json displaced list pg
says out '"reason":"unconfirmed"' "P7: kept aside, with the reason"
says out '"rel":"late"' "P7: the new file"
says out 'conf.d.8.conf' "P7: the changed file"
run 0 "stop of what is not ours succeeds" a offline pg

run 0 "offline on b" b offline pg
is "$(field b pg state)" offline "b is offline"
run 0 "offline again" b offline pg
echo local >"$A/made-offline"
run 0 "move back to a" a online pg
[ ! -e "$A/made-offline" ] && [ ! -e "$A/late" ]; ok $? "a's tree is the generation"
cmp -s "$A/from-b" "$Bd/from-b"; ok $? "with b's change"
run 0 "displaced list" a --json displaced list pg
says out 'offline-change' "P7: what a had changed while offline is kept aside"
same b a srv/pg; ok $? "P6: both trees are equal"
for i in 1 2 3; do
	echo "round $i" >"$A/round"
	hf a offline pg && hf b online pg && echo "b $i" >>"$Bd/round" && hf b offline pg && hf a online pg
done >/dev/null; ok $? "three moves there and back"
is "$(cat "$A/round")" "round 3
b 3" "offline commits without a sync"
run 0 "online restores nothing new the second time" b --json online pg --dry-run
why=$(rsync -aHAXc --delete --dry-run -i "$A/" "$Bd/"); [ -z "$why" ]
ok $? "P6: equal"

down a; is $? 0 "SIGTERM: exit 0"
echo while-down >"$A/while-down"
up a; ok $? "a starts again"
until_true 10 field_is a pg state online
is "$(field a pg state)" online "a restart of the daemon resumes what was online"
run 0 "and captures what happened meanwhile" a sync pg
crash a
echo after-kill >"$A/after-kill"
up a
until_true 10 field_is a pg state online; ok $? "after a kill too"
is "$(cat "$A/after-kill" 2>/dev/null)" after-kill "the local tree is the truth then"
run 0 "offline" a offline pg
run 0 "online on b" b online pg
is "$(cat "$Bd/while-down" "$Bd/after-kill")" "while-down
after-kill" "b has both"

run 0 "history" b history pg
run 5 "an online resource is not deleted" b resource delete pg
run 0 "offline" b offline pg
run 0 "deleted" b resource delete pg
run 3 "and gone" b status pg
until_true 10 eval '! hf a status pg'; ok $? "P8: for the other node too"
[ ! -e "$tmp/b/state/resources/pg" ]; ok $? "no journal is left"
plan
