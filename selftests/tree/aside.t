#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# P7: what a takeover overwrites is kept aside once however often it is tried, bounded, encrypted, listed,
# and brought back; and never a reason to refuse the takeover.
. "$(dirname "$0")/../failover/lib.sh"
A=$tmp/a/root/srv/r Bd=$tmp/b/root/srv/r
cluster a b
mkdir -p "$A/d" "$Bd/d/mine"
for i in 1 2 3 4 5; do echo "good $i" >"$A/d/$i"; echo "local $i" >"$Bd/d/$i"; done
echo odd >"$Bd/d/"$'odd\nname\xff\\'; echo SECRET-extra >"$Bd/d/mine/extra"; chmod 750 "$Bd/d/mine"; touch -d 2001-01-01 "$Bd/d/3"
up a && up b HOLDFAST_SEAM=restore.rename:3:eio; ok $? "two nodes"
hf a resource add r >/dev/null; hf a checkpoint add r /srv/r >/dev/null; hf a online r >/dev/null; hf a offline r >/dev/null
sets() { hf b --json displaced list r | $PY -c "
import json,sys
for s in json.load(sys.stdin)['sets']: print(s['id'], s['reason'], *sorted(e['rel'] for e in s['entries']))"; }
hf b online r >"$tmp/out" 2>"$tmp/err"; [ $? -ne 0 ]; ok $? "a restore that fails half way"
first=$(sets)
is "$(wc -l <<<"$first")" 1 "left one set"
down b
up b HOLDFAST_SEAM=restore.rename:2:kill
hf b resource reset r >/dev/null; hf b online r >/dev/null 2>&1
until_true 5 eval '! alive b'; ok $? "the next is killed"
wait "${pid[b]}" 2>/dev/null
up b; until_true 10 eval '[ "$(field b r state)" != online-pending ]'
field_is b r state online || { hf b resource reset r; hf b online r; } >/dev/null 2>&1
is "$(field b r state)" online "P5: and the one after that finishes it"
why=$(rsync -aHAXc --delete --dry-run -i "$A/" "$Bd/"); [ -z "$why" ]; ok $? "P6: exactly"
is "$(sets | cut -d' ' -f2-)" "offline-change d/1 d/2 d/3 d/4 d/5 d/mine d/mine/extra d/odd\\x0aname\\xff\\x5c" "P7: what was there is kept aside, once"
is "$(sets | cut -d' ' -f1)" "${first%% *}" "in the set of the first"
! grep -rqa -e SECRET -e mine/extra "$tmp/b/state/displaced"; ok $? "P11: encrypted"
id=${first%% *}

# brought back: what is online commits it
run 0 "one name brought back" b displaced restore r "$id" d/3
is "$(cat "$Bd/d/3") $(stat -c %Y "$Bd/d/3")" "local 3 $(date -d 2001-01-01 +%s)" "as it was"
run 0 "sync" b sync r
run 0 "and a directory" b displaced restore r "$id" d/mine
is "$(cat "$Bd/d/mine/extra") $(stat -c %a "$Bd/d/mine")" "SECRET-extra 750" "with what was in it"
is "$(cat "$Bd/d/1")" "good 1" "the rest is as it is"
is "$(sets | grep -c brought-back)" 1 "what that overwrote is kept aside"
run 0 "all of it elsewhere" b displaced restore r "$id" --to "$tmp/b/root/tmp/back"
is "$(cd "$tmp/b/root/tmp/back" && cat d/1 d/5 d/mine/extra | tr '\n' ' ')" "local 1 local 5 SECRET-extra " "P7: brought back"
echo mine >"$tmp/b/root/tmp/back/d/1"
run 4 "not over what is there" b displaced restore r "$id" --to "$tmp/b/root/tmp/back"
is "$(cat "$tmp/b/root/tmp/back/d/1")" mine "which is left alone"
run 5 "nor into a tree that is online here" b displaced restore r "$id" --to "$Bd/inside"
[ ! -e "$Bd/inside" ]; ok $? "in which nothing is made"
(cd "$tmp" && run 0 "a relative one is where the command runs" b displaced restore r "$id" d/5 --to near); n=$((n + 1))
is "$(cat "$tmp/near/d/5")" "local 5" "there it is"
run 3 "a name that is not in it" b displaced restore r "$id" d/none
says err "set $id has no d/none; .holdfast displaced show r $id. lists" "  it is named"
run 0 "one by its whole path, as lists show it" b displaced restore r "$id" /srv/r/d/2 --to "$tmp/whole"
is "$(cd "$tmp/whole" && find . -type f)" ./d/2 "  that one alone"
run 0 "one that holds what lists escape" b displaced restore r "$id" 'd/odd\x0aname\xff\x5c' --to "$tmp/odd"
is "$(cat "$tmp"/odd/d/odd*)" odd "  is named as they show it"
run 3 "a set that is not there" b displaced restore r 20260102T030405.678Z-0123abcd
run 3 "a resource that is not there" b displaced restore none "$id"
hf b offline r >/dev/null
run 0 "the other node takes it over" a online r
is "$(cat "$A/d/3" "$A/d/mine/extra" | tr '\n' ' ')" "local 3 SECRET-extra " "P1: with what was brought back"
hf a offline r >/dev/null

# never a reason to refuse
echo again >"$Bd/d/1"; rm -rf "$tmp/b/state/displaced"; : >"$tmp/b/state/displaced"
run 0 "P7: nowhere to put copies does not refuse a takeover" b online r
is "$(cat "$Bd/d/1")" "good 1" "it is restored"
says b/log "could not be kept aside" "and it is told"
hf b offline r >/dev/null; down b; rm "$tmp/b/state/displaced"
printf '[displaced]\nsize = 100KiB\n' >>"$tmp/b/conf"
up b; ok $? "a bound"
head -c 150000 /dev/urandom >"$Bd/d/1"; echo small >"$Bd/d/2"
run 0 "P7: nor does one copy that is larger than all may be" b online r
says err "1 of what was overwritten could not be kept aside, and is gone" "the command tells of it"
is "$(sets | cut -d' ' -f2-)" "offline-change d/2" "the small one is kept"
says b/log "1 entries of /srv/r could not be kept aside.*the first is d/1: .*size" "the other is told, and named"

# secrets stay in their path
mkdir -m 700 "$tmp/b/root/srv/k" && (umask 077; echo KEY >"$tmp/b/root/srv/k/key")
hf b resource add k >/dev/null; hf b checkpoint add k /srv/k --crypto >/dev/null; hf b online k >/dev/null; hf b offline k >/dev/null
echo OTHER >"$tmp/b/root/srv/k/key"; hf b online k >/dev/null
kid=$(hf b --json displaced list k | $PY -c "import json,sys; print(json.load(sys.stdin)['sets'][0]['id'])")
run 5 "P11: a crypto checkpoint is not put elsewhere" b displaced restore k "$kid" --to "$tmp/k"
run 0 "but back into its own path" b displaced restore k "$kid"
is "$(cat "$tmp/b/root/srv/k/key")" OTHER "as it was"
plan
