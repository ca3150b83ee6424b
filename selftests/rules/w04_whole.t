#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# W4: a tree is kept with all that is in it, at any depth: each type of file, each attribute, deletions and
# renames. Others' programs are the judges; selftests/tree has what each attribute takes.
# shellcheck source=selftests/failover/lib.sh
. "$(dirname "$0")/../failover/lib.sh"
cluster a b
A=$tmp/a/root/srv/t B_=$tmp/b/root/srv/t
mkdir -p "$A/d/e/f/g" "$A/empty" "$A/with space" "$A/$(printf 'not\377utf')"
echo deep >"$A/d/e/f/g/h"; echo x >"$A/with space/a b"; printf 'new\nline' >"$A/$(printf 'n\nl')"; : >"$A/nothing"
ln "$A/d/e/f/g/h" "$A/hard"; ln -s d/e "$A/soft"; ln -s /nowhere "$A/dangling"; mkfifo -m 620 "$A/fifo"
mknod "$A/null" c 1 3 && chmod 604 "$A/null"
truncate -s 5M "$A/sparse"; echo end >>"$A/sparse"; head -c 300000 /dev/urandom >"$A/large"
echo s >"$A/setuid"; chown daemon:adm "$A/setuid"; chmod 6755 "$A/setuid"; chmod 1770 "$A/empty"; chmod 0 "$A/nothing"
touch -d '1999-12-31 23:59:59.123456789' "$A/large"; touch -d '2001-01-01 00:00:00.5' "$A/d/e"; touch -h -d '2002-02-02' "$A/soft"
setfattr -n user.a -v 1 "$A/large" && setfattr -n user.dir -v 2 "$A/d" && setfattr -n trusted.t -v 3 "$A/hard"; ok $? "extended attributes"
setfacl -m u:daemon:rw,g:adm:r "$A/large" && setfacl -d -m u:daemon:rwx "$A/d"; ok $? "ACLs"
echo p >"$A/ping"; setcap cap_net_raw+ep "$A/ping"; ok $? "capabilities"
up a && up b; ok $? "two nodes"
hf a resource add r >/dev/null && hf a checkpoint add r /srv/t >/dev/null
run 0 "online" a online r
# judged: contents, types, modes, owners, times, links, devices, ACLs and attributes; and how much room it takes
alike() { # alike NAME: b has what a has
	same a b srv/t; ok $? "W4: $1"
	is "$(cd "$A" && find . -type d -newermt 1990-01-01 -printf '%P %T@\n' | sort | md5sum)" "$(cd "$B_" && find . -type d -newermt 1990-01-01 -printf '%P %T@\n' | sort | md5sum)" "times of directories"
	is "$(cd "$A" && getfattr -Rdhm - . 2>/dev/null | md5sum)" "$(cd "$B_" && getfattr -Rdhm - . 2>/dev/null | md5sum)" "attributes, capabilities"
	is "$(cd "$A" && getfacl -R . 2>/dev/null | md5sum)" "$(cd "$B_" && getfacl -R . 2>/dev/null | md5sum)" "ACLs"
}
go() { hf "$1" offline r >/dev/null && hf "$2" online r >/dev/null; }
go a b; ok $? "another node"
alike "all types, all attributes"
is "$(stat -c %b "$B_/sparse")" "$(stat -c %b "$A/sparse")" "a hole is a hole"
is "$(stat -c %i "$B_/hard")" "$(stat -c %i "$B_/d/e/f/g/h")" "two names of one file are that"
go b a
# deletions, renames, and one type in the place of another
rm -r "$A/with space"; rm "$A/fifo" "$A/dangling"; mv "$A/d/e" "$A/moved"; mv "$A/large" "$A/d/large"; mv "$A/empty" "$A/empty too"
rm "$A/soft"; mkdir "$A/soft"; echo now >"$A/soft/file"; rm -r "$A/null"; echo "a file" >"$A/null"; rm "$A/hard"; ln "$A/ping" "$A/hard"
setfattr -x trusted.t "$A/moved/f/g/h"; setfattr -x user.dir "$A/d"; setfacl -b "$A/d/large"; setcap -r "$A/ping"; chmod 644 "$A/setuid"; truncate -s 1M "$A/sparse"
run 0 "sync" a sync r
go a b
alike "what is gone is gone, what was moved is where it is, what is something else is that"
plan
