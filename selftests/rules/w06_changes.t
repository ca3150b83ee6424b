#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# W6: captured on every change while it is online: after each kind of change a sync, then the node is killed, and
# the other one has it. (P1, P2)
# shellcheck source=selftests/failover/lib.sh
. "$(dirname "$0")/../failover/lib.sh"
cluster a b
mkdir -p "$tmp/a/root/srv/t/d" "$tmp/a/root/else"; T=$tmp/a/root/srv/t
for i in 1 2 3 4 5; do echo "$i" >"$T/d/$i"; done
up a && up b; ok $? "two nodes"
hf a resource add r >/dev/null && hf a checkpoint add r /srv/t >/dev/null && hf a online r >/dev/null; ok $? "online"
own=a other=b
# change NAME COMMAND...: in the tree of the owner, which is lost then
change() {
	local name=$1 t=$own
	shift
	( cd "$tmp/$own/root/srv/t" && "$@" ) >"$tmp/out" 2>"$tmp/err" || { ok 1 "$name: the change itself"; return; }
	hf "$own" sync r >"$tmp/out" 2>"$tmp/err"; local rc=$?
	rm -rf "$tmp/then"; cp -a "$tmp/$own/root/srv/t" "$tmp/then"
	crash "$own"
	hf "$other" online r --fenced >>"$tmp/out" 2>>"$tmp/err" || rc=1
	why=$(rsync -aHAXc --delete --dry-run -i "$tmp/then/" "$tmp/$other/root/srv/t/" 2>&1)
	[ $rc = 0 ] && [ -z "$why" ]; ok $? "W6: $name: the other node has it"
	own=$other other=$t
	up "$other"
}
change "a file is written" sh -c 'echo new >d/1'
change "appended to" sh -c 'echo more >>d/2'
change "in place, of the same size" sh -c 'printf X | dd of=d/3 conv=notrunc status=none'
change "truncated" truncate -s 0 d/4
change "through a mapping" "$PY" -c '
import mmap
with open("d/5", "r+b") as f:
    m = mmap.mmap(f.fileno(), 0); m[0:1] = b"M"; m.flush(); m.close()'
change "replaced by a rename" sh -c 'echo whole >.new && mv .new d/1'
change "made" sh -c 'echo made >d/6'
change "deleted" rm d/2
change "a mode" chmod 600 d/1
change "an owner" chown daemon:adm d/1
change "a time" touch -d 2000-01-01 d/1
change "an attribute" setfattr -n user.x -v y d/1
change "an ACL" setfacl -m u:daemon:r d/1
change "a symbolic link" ln -sfn d/1 link
change "a hard link" ln d/1 d/other
change "a directory moved in, with all that is in it" sh -c 'mkdir -p ../../else/in/deep; echo in >../../else/in/deep/f; mv ../../else/in here'
change "a directory renamed" mv here there
change "a directory moved out" mv there ../../else/
change "a tree deleted, another made" sh -c 'rm -r d; mkdir -p d/e/f; echo 1 >d/e/f/g'
change "many at once" sh -c 'i=0; while [ $i -lt 300 ]; do echo $i >d/m$i; i=$((i+1)); done'
change "nothing" true
plan
