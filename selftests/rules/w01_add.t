#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# W1: adding a checkpoint: a directory or one file, once; what may not be one, and why; what is said
# of it; that data is not taken for configuration.
# shellcheck disable=SC2034	# what lib.sh reads
. "$(dirname "$0")/../failover/lib.sh"
cluster a
R=$tmp/a/root; mkdir -p "$R/etc/app/conf.d" "$R/srv/big"; echo 1 >"$R/etc/app/f"; echo 2 >"$R/etc/app/conf.d/g"; echo s >"$R/etc/single"
up a; ok $? "a node"
hf a resource add r >/dev/null
run 0 "a directory" a checkpoint add r /etc/app
says out '/etc/app registered; 2 files in 2 directories, 4 B' "what it holds is said"
says out 'tracked by events' "how well it can be tracked"
says out 'in 2.8 KiB of kernel memory' "and in how much memory"
run 4 "again" a checkpoint add r /etc/app
run 4 "nor by another spelling" a checkpoint add r //etc/./app/
run 0 "one file, followed through its directory" a checkpoint add r /etc/single
run 0 "the list" a --json checkpoint list r
says out '"path":"/etc/single","view":"native","kind":"tree","file":true' "has it as one"
run 5 "one inside another" a checkpoint add r /etc/app/conf.d
run 3 "of no resource" a checkpoint add nobody /etc/app
why_not() { run 2 "$2 may not be one" a checkpoint add r "$2"; says err "$1" "and it says why"; }
why_not 'absolute' etc/app
why_not 'root of the file system' /
why_not 'kernel makes' /proc/self
why_not 'kernel makes' /sys
why_not 'kernel makes' /dev/shm
why_not 'holds ..' /etc/../etc/app
ln -s app "$R/etc/link"
run 5 "a symbolic link is not what it leads to" a checkpoint add r /etc/link
says err 'symbolic link' "said"
mkfifo "$R/etc/fifo"; run 5 "neither is a pipe a file" a checkpoint add r /etc/fifo
truncate -s 1100M "$R/srv/big/data"
run 5 "more than 1 GiB is data" a checkpoint add r /srv/big
says err 'force' "and says how to have it all the same"
run 0 "--force" a checkpoint add r /srv/big --force
run 0 "online" a online r --dry-run
sed "s#^root = .*#root = $tmp#" "$tmp/a/conf" >"$tmp/conf2"; down a; cp "$tmp/conf2" "$tmp/a/conf"; up a
run 2 "Holdfast's own state" a checkpoint add r "/a/state"
says err 'keeps its state' "said"
run 2 "nor what it lies in" a checkpoint add r /a
run 2 "nor its key" a checkpoint add r /key
plan
