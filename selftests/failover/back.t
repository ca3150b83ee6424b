#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A way back (X13): what differed, in which way; to an earlier generation, here or into a directory.
. "$(dirname "$0")/lib.sh"
cluster a b
Ar=$tmp/a/root/srv Br=$tmp/b/root/srv
mkdir -p "$Ar/t/d" "$Ar/keys" "$Br"
seq 20 >"$Ar/t/conf"; echo gone >"$Ar/t/d/gone"; printf 'a\0b' >"$Ar/t/bin"; ln -s conf "$Ar/t/link"
printf '\033[2Jx\n' >"$Ar/t/ugly"
echo secretword >"$Ar/keys/k"; chmod 600 "$Ar/keys/k"
up a && up b; ok $? "two nodes"
hf a resource add r >/dev/null && hf a checkpoint add r /srv/t --exclude '*.log' >/dev/null &&
	hf a checkpoint add r /srv/keys --crypto >/dev/null && hf a online r >/dev/null && hf a sync r >/dev/null
ok $? "online"
G1=$(field a r generation)
cp -a "$Ar/t" "$tmp/t1"
run 0 "verify: nothing differs" a verify r
says out "is generation $G1" "and the generation is told"

# diff: names, metadata, text
sed -i 's/^7$/seven/' "$Ar/t/conf"; touch -d '2001-02-03 04:05:06' "$Ar/t/conf"
chmod 640 "$Ar/t/bin"; chown 1:1 "$Ar/t/bin"; setfattr -n user.k -v x "$Ar/t/bin"
rm "$Ar/t/d/gone"; echo new >"$Ar/t/d/new"; ln -sfn d "$Ar/t/link"; echo more >>"$Ar/t/ugly"
echo secretword2 >"$Ar/keys/k"
hf a sync r >/dev/null; G2=$(field a r generation)
run 0 "diff of two generations" a diff r "$G1" "$G2"
says out '^M /srv/t/conf$' "a file whose contents changed"
says out '^m /srv/t/bin  mode 0644 -> 0640, owner root -> daemon, group root -> daemon, user.k added$' "one with other metadata, which are told"
says out '^D /srv/t/d/gone$' "one that is gone"
says out '^A /srv/t/d/new$' "one that is new"
says out '^M /srv/t/link  target conf -> d$' "a link that leads elsewhere"
says out '^M /srv/keys$' "P11: of a crypto checkpoint no more than that"
! grep -q secretword "$tmp/out"; ok $? "and nothing of what is in it"
run 0 "as text" a diff r "$G1" "$G2" --text
says out "^--- /srv/t/conf	generation $G1\$" "with a head"
says out '^@@ -4,7 +4,7 @@$' "a hunk"
says out '^-7$' "the old line"
says out '^+seven$' "the new line"
says out '^+new$' "all of a new file"
says out '^-gone$' "all of one that is gone"
! grep -q secretword "$tmp/out"; ok $? "P11: a crypto checkpoint's contents are in no diff"
! grep -q "$(printf '\033')" "$tmp/out"; ok $? "and nothing that a terminal would obey"
(cd "$tmp/t1" && cp -a . "$tmp/patched" && cd "$tmp/patched" && grep -v '^[A-Zm] ' "$tmp/out" | sed 's,/srv/t/,,' | patch -s -p0)
cmp -s "$tmp/patched/conf" "$Ar/t/conf" && [ ! -s "$tmp/patched/d/gone" ] && cmp -s "$tmp/patched/d/new" "$Ar/t/d/new"
ok $? "patch makes the one of the other with it"
run 3 "of a generation that is not there" a diff r 9999
chmod 755 "$tmp/a/run"; hf a --json diff r "$G1" >"$tmp/out"; says out '"meta":\["mode 0644 -> 0640"' "against the tree as well, and as JSON"

# a checkpoint that was deleted and added again begins anew
mkdir "$Ar/anew"; echo one >"$Ar/anew/f"
hf a resource add n >/dev/null && hf a checkpoint add n /srv/anew >/dev/null && hf a online n >/dev/null && hf a sync n >/dev/null
N1=$(field a n generation)
hf a checkpoint delete n /srv/anew --yes >/dev/null && hf a checkpoint add n /srv/anew >/dev/null
run 3 "what was kept of it before is gone: restore" a restore n --generation "$N1" --to "$tmp/anew"
says err "generation $N1 has nothing of what is registered for n now" "  says so"
[ ! -e "$tmp/anew" ]; ok $? "  and makes nothing"
hf a offline n >/dev/null; hf a resource delete n --yes >/dev/null; rm -r "$Ar/anew"

# what no line of text or mode tells
L=$Ar/links; mkdir "$L"; echo one >"$L/x"; ln "$L/x" "$L/y"; mknod "$L/dev" c 1 3; touch -d @1 "$L/dev"
hf a resource add l >/dev/null && hf a checkpoint add l /srv/links >/dev/null && hf a online l >/dev/null && hf a sync l >/dev/null
L1=$(field a l generation)
cp -p "$L/x" "$L/z" && mv "$L/z" "$L/x"
mknod "$L/z" c 1 5; touch -d @1 "$L/z"; mv "$L/z" "$L/dev"
hf a sync l >/dev/null
run 0 "diff" a diff l "$L1" "$(field a l generation)"
says out '^m /srv/links/x  hard links$' "a name that is one of the same file no more"
says out '^m /srv/links/dev  device 1,3 -> 1,5$' "another device"
run 0 "against the tree" a diff l "$L1"
says out '^m /srv/links/.  hard links$' "the same"
hf a offline l >/dev/null; hf a resource delete l --yes >/dev/null; rm -r "$L"

# who changed what (X7)
chmod 777 "$Ar/t/d"
hf a sync r >/dev/null
(cd "$Ar/t/d" && exec setpriv --reuid=1 --clear-groups sh -c 'echo x >other; echo y >others; sleep 1')
hf a sync r >/dev/null
hf a history r >"$tmp/out"; says out 'daemon: sh\[[0-9]*\] /srv/t/d' "X7: history says which user changed what with which process"
cp "$(command -v sh)" "$tmp/x; root: y"
"$tmp/x; root: y" -c "echo >'$Ar/t/a; root: z[1] b'; sleep 1"
hf a sync r >/dev/null
hf a history r >"$tmp/out"; says out 'root: x, root: y\[' "and what separates them is not taken from names"
! grep -q 'a; root: z' "$tmp/out"; ok $? "of files neither"
if sh -c 'echo 2 >/proc/self/loginuid' 2>/dev/null; then
	sh -c "echo 2 >/proc/self/loginuid; echo z >$Ar/t/d/third; sleep 1"
	hf a sync r >/dev/null
	hf a history r >"$tmp/out"; says out 'root (login bin): sh\[[0-9]*\] /srv/t/d' "and who that was when he logged in"
else
	ok 0 "and who that was when he logged in # SKIP this container's login user cannot be set"
fi
echo secretword3 >"$Ar/keys/newkeyname"; chmod 600 "$Ar/keys/newkeyname"
hf a sync r >/dev/null; hf a history r >"$tmp/out"
grep -q ' /srv/keys' "$tmp/out" && ! grep -q newkeyname "$tmp/out"; ok $? "P11: no name inside a crypto checkpoint"
hf a sync r >/dev/null

# verify
echo drift >"$Ar/t/late.log"
hf a sync r >/dev/null		# the directory has other times
run 0 "what is excluded is no drift" a verify r
hf a offline r >/dev/null
rm "$Ar/t/d/new"
run 1 "drift while nobody tracks it" a verify r
says out '^D /srv/t/d/new$' "is listed"
says err "2 differences between generation" "and counted, with the generation"
run 1 "a node that has nothing of it" b verify r

# restore into a directory
mkdir "$tmp/into"
run 0 "an earlier generation into a directory" b restore r --generation "$G1" --to "$tmp/into"
says err 'keys is a crypto checkpoint' "but for keys, which is said"
d=$(rsync -aHAXc --delete --dry-run -i "$tmp/t1/" "$tmp/into/srv/t/" 2>&1)
is "$d" "" "all of it, by rsync's word"
[ ! -e "$tmp/into/srv/keys" ] && [ ! -e "$Br/t" ]; ok $? "no key, and nothing in the place itself"
run 4 "not over what is there" b restore r --generation "$G1" --to "$tmp/into"
run 0 "the newest, into one that is made" b restore r --to "$tmp/new/dir"
is "$(cat "$tmp/new/dir/srv/t/d/new")" new "as it is"
(cd "$tmp" && hf b restore r --to rel >/dev/null 2>&1); [ -f "$tmp/rel/srv/t/conf" ]; ok $? "a relative one is that of who asked"
run 3 "not of a generation that is not there" b restore r --generation 9999 --to "$tmp/none"
run 2 "nor without a directory" b restore r --generation 1

# rollback
run 5 "a rollback of what is offline is refused" a rollback r --to "$G1"
says err 'holdfast online r' "and says what to do"
hf a online r >/dev/null
run 5 "and where it is not" b rollback r --to "$G1"
echo 'not committed' >"$Ar/t/d/last"; echo log >"$Ar/t/x.log"
cp -a "$Ar/t" "$tmp/t2"
G3=$(field a r generation)
run 0 "--dry-run" a rollback r --to "$G1" --dry-run
says out '^M /srv/t/conf' "lists what would change"
says out '^D /srv/t/d/new$' "and go"
says out '^r: would change: .*[0-9] removed (D), [0-9]* contents (M)' "and what the letters mean"
d=$(rsync -aHAXc --delete --dry-run -i "$tmp/t2/" "$Ar/t/" 2>&1); is "$d" "" "and changes nothing"
run 0 "rollback" a rollback r --to "$G1"
says out "is what generation $G1 was" "says so"
G4=$(field a r generation)
[ "$G4" -gt "$G3" ]; ok $? "as a new generation"
rsync -aHAXc --exclude '*.log' --delete --dry-run -i "$tmp/t1/" "$Ar/t/" >"$tmp/out" 2>&1; [ ! -s "$tmp/out" ]; ok $? "P6: the tree is as it was, by rsync's word"
is "$(cat "$Ar/t/x.log")" log "what is excluded is not touched"
is "$(cat "$Ar/keys/k")" secretword "a key too"
run 0 "verify" a verify r
hf a history r >"$tmp/out"; says out "rollback to $G1 by $(id -un).*: holdfast\[[0-9]*\]" "history says so, and who asked for it"
! grep "rollback to $G1" "$tmp/out" | grep -q holdfastd; ok $? "not that the daemon did"
hf a displaced list r >"$tmp/out"; ! grep -q rollback "$tmp/out"; ok $? "what is in a generation is not kept aside as well"
run 0 "nothing to do the second time" a rollback r --to "$G1"
says out "stays: of what is registered now, generation .* has nothing that differs" "is said"
run 0 "--dry-run" a rollback r --to "$G1" --dry-run
says out "^r: nothing would change here" "says so too"
run 0 "forward again, to what was there last" a rollback r --to "$((G4 - 1))"
d=$(rsync -aHAXc --delete --dry-run -i "$tmp/t2/" "$Ar/t/" 2>&1); is "$d" "" "with what nobody had committed"
run 3 "not to a generation that is not there" a rollback r --to 9999
echo after >"$Ar/t/after"; run 0 "changes are followed after it" a sync r --quick
hf a --json diff r >"$tmp/out"; says out '"changes":\[\]' "as before"

# the other node gets what was rolled back to, an earlier owner's too
hf a rollback r --to "$G1" >/dev/null; crash a
run 0 "P1: a takeover restores what was rolled back to" b online r --fenced
d=$(rsync -aHAXc --exclude '*.log' --delete --dry-run -i "$tmp/t1/" "$Br/t/" 2>&1); is "$d" "" "exactly"
run 0 "back to a generation of another owner" b rollback r --to "$G2"
grep -q seven "$Br/t/conf"; ok $? "is restored from its area"

# a deletion that the guard holds back is undone
for i in $(seq 30); do echo "$i" >"$Br/t/f$i"; done
hf b sync r >/dev/null; G5=$(field b r generation)
rm "$Br/t"/f*; run 5 "too much deleted: held back" b sync r
run 0 "a rollback undoes it" b rollback r --to "$G5"
is "$(find "$Br/t" -name "f*" | wc -l)" 30 "all is there"

# it dies half-way: the newest generation comes back
hf b offline r >/dev/null
cp -a "$Br/t" "$tmp/t5"
for seam in restore.rename:2 rollback.restored:1; do
	hf b offline r >/dev/null; down b
	up b HOLDFAST_SEAM=$seam:kill
	hf b online r >/dev/null
	hf b rollback r --to "$G1" >/dev/null 2>&1
	wait "${pid[b]}" 2>/dev/null; rm -f "$tmp/b/run/holdfastd.sock"
	d=$(rsync -aHAXc --delete --dry-run -i "$tmp/t5/" "$Br/t/" 2>&1); [ -n "$d" ]; ok $? "a daemon died in a rollback, at $seam"
	up b; until_true 20 field_is b r state online; ok $? "P5: the next one is online again"
	d=$(rsync -aHAXc --delete --dry-run -i "$tmp/t5/" "$Br/t/" 2>&1); is "$d" "" "with all that was before"
done
# one that fails
down b; up b HOLDFAST_SEAM=restore.rename:2:eio
until_true 20 field_is b r state online
sets=$(hf b --json displaced list r | grep -o '"id"' | wc -l)
run 1 "a rollback that fails" b rollback r --to "$G1"
is "$(hf b --json displaced list r | grep -o '"id"' | wc -l)" "$sets" "keeps nothing aside: all that it found and wrote is in the log"
d=$(rsync -aHAXc --delete --dry-run -i "$tmp/t5/" "$Br/t/" 2>&1); is "$d" "" "leaves what was before"
is "$(field b r state)" online "and the resource online"
run 0 "to go on with" b sync r
# what the guard kept from being committed is kept aside, though the generation that is not reached has it so (both are
# changed before the daemon looks: else it may commit the one before it sees the other)
down b; cp -a "$tmp/t1/conf" "$Br/t/conf"; rm "$Br/t"/f*
up b HOLDFAST_SEAM=restore.rename:2:eio
until_true 20 field_is b r state online
run 1 "a rollback that fails, after what the guard held back" b rollback r --to "$G1"
set=$(hf b --json displaced list r | grep -o '"id":"[^"]*"' | tail -n 1 | cut -d'"' -f4)
hf b displaced show r "$set" >"$tmp/out"; says out 'conf' "P7: what was like it before is kept aside"
d=$(rsync -aHAXc --delete --dry-run -i "$tmp/t5/" "$Br/t/" 2>&1); is "$d" "" "and the newest generation is here"
sets=$(hf b --json displaced list r | grep -o '"id"' | wc -l)
# one that is not committed is not left in the trees either: the guard would hold it back later, and a takeover undo it
hf b offline r >/dev/null; down b; up b HOLDFAST_SEAM=commit.append:1+:eio
run 0 "online" b online r
run 7 "a rollback that cannot be committed" b rollback r --to "$G1"
says err "what was before the rollback is here again" "says what it did"
is "$(hf b --json displaced list r | grep -o '"id"' | wc -l)" "$sets" "and keeps nothing aside"
d=$(rsync -aHAXc --delete --dry-run -i "$tmp/t5/" "$Br/t/" 2>&1); is "$d" "" "which is so"
is "$(field b r state)" online "and the resource online"
# one that fails, and going back too: no mixture of two generations becomes one
hf b offline r >/dev/null; down b; up b HOLDFAST_SEAM=restore.rename:2+:eio
run 0 "online, where nothing differs" b online r
G6=$(field b r generation)
run 1 "a rollback that fails, as does going back" b rollback r --to "$G1"
says err "nor could what was before be restored, so r is failed" "says so"
is "$(field b r state)" failed "P5: the resource is failed"
run 0 "nothing of it is committed by a stop" b offline r
down b; up b
run 0 "online" b online r
d=$(rsync -aHAXc --delete --dry-run -i "$tmp/t5/" "$Br/t/" 2>&1); is "$d" "" "P5: what was before the rollback is restored"
is "$(field b r generation)" "$G6" "as the generation that it was"

# a directory for a restore: in no tree that is online, and nothing in it is lost
run 5 "restore into a tree that is online here" b restore r --to "$Br/t/d/inside"
says err "srv/t of r, which is online" "is refused, and says whose"
[ ! -e "$Br/t/d/inside" ]; ok $? "before anything is made"
mkdir -p "$tmp/fs/srv/t/lost+found"; echo found >"$tmp/fs/srv/t/lost+found/x"
run 4 "nor over what fsck found" b restore r --to "$tmp/fs"
is "$(cat "$tmp/fs/srv/t/lost+found/x")" found "that is left alone"
rm "$tmp/fs/srv/t/lost+found/x"; run 0 "an empty one is none" b restore r --to "$tmp/fs"
down b; printf '[view]\n32bit = /compat\n' >>"$tmp/b/conf"; mkdir -p "$tmp/b/root/compat/etc/v" "$tmp/led/etc" "$tmp/hostile"
echo v >"$tmp/b/root/compat/etc/v/f"; up b; until_true 20 field_is b r state online
hf b resource add v >/dev/null; hf b checkpoint add v /etc/v --view 32bit >/dev/null; hf b online v >/dev/null; ok $? "a checkpoint of a view"
ln -s "$tmp/led" "$tmp/hostile/compat"
hf b restore v --to "$tmp/hostile" >"$tmp/out" 2>"$tmp/err"; [ $? -ne 0 ] && [ -z "$(ls -A "$tmp/led/etc")" ]; ok $? "P6: no link in the directory leads out of it"
run 0 "restored where there is none" b restore v --to "$tmp/hostile/x"
is "$(cat "$tmp/hostile/x/compat/etc/v/f")" v "it lies below the view's root there"

# a dry run refuses what a rollback or a takeover would
mkdir "$Br/t/kind"; echo x >"$Br/t/kind/y"; hf b sync r >/dev/null
rm -r "$Br/t/kind"; echo file >"$Br/t/kind"; hf b sync r >/dev/null; G7=$(field b r generation)
rm "$Br/t/kind"; mkdir "$Br/t/kind"; echo log >"$Br/t/kind/a.log"; hf b sync r >/dev/null
run 5 "a directory that holds an excluded name is to become a file: refused" b rollback r --to "$G7" --dry-run
says err 'srv/t/kind' "with its name"
run 5 "so it is by the rollback" b rollback r --to "$G7"
is "$(field b r state) $(cat "$Br/t/kind/a.log")" "online log" "which changes nothing"
run 0 "to a generation that has nothing of that name" b rollback r --to "$G6"
says out "srv/t/kind is not in it, and stays" "it stays, which is said"
# more names than one answer holds
# pinned, as what is made meanwhile may be more generations than are kept
hf b sync r >/dev/null; g=$(field b r generation); hf b history pin r "$g" --name before >/dev/null
d=$Br/t/$($PY -c 'print("/".join(["n" * 250] * 13))')
mkdir -p "$d" && $PY -c 'import os, sys
os.chdir(sys.argv[1])
for i in range(10500): open("%05d" % i + "f" * 245, "w").close()' "$d"
run 0 "sync" b sync r
hf b --json diff r "$g" "$(field b r generation)" >"$tmp/diff"
is "$($PY -c 'import json, sys
r = json.load(open(sys.argv[1]))
n = sum(len(c["rel"]) for c in r["changes"])
print(31 << 20 <= n < 33 << 20, r["note"])' "$tmp/diff")" "True there are more changes than are listed here" "a diff is bounded by bytes, too"
plan
