#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# W12: a restore that is blocked: the error names resource, path and cause, the log has it, and nothing comes
# online (P5). When the cause is gone it does.
# shellcheck source=selftests/failover/lib.sh
. "$(dirname "$0")/../failover/lib.sh"
cluster a b
A=$tmp/a/root/srv B_=$tmp/b/root/srv
mkdir -p "$A/x/d"; echo x >"$A/x/d/f"; chown 54321:54321 "$A/x/d/f"
up a && up b; ok $? "two nodes"
hf a resource add r >/dev/null && hf a checkpoint add r /srv/x >/dev/null && hf a online r >/dev/null && hf a offline r >/dev/null; ok $? "a generation"
# blocked WHAT CAUSE: b cannot, and says so
blocked() {
	: >"$tmp/b/log"
	hf b online r >"$tmp/out" 2>"$tmp/err"; local rc=$?
	why="exit $rc"; [ $rc -ne 0 ]; ok $? "W12: $1"
	says err 'r: .*/srv/x' "names resource and path"
	says err "$2" "and cause"
	[ "$(field b r state)" != online ]; ok $? "P5: nothing comes online"
	grep -q '/srv/x' "$tmp/b/log"; ok $? "it is in the log"
	hf b resource reset r >/dev/null
}
echo "in the way" >"$B_/x"
blocked "a file where the tree is to be" 'directory\|file'
rm "$B_/x"
if mkdir -p "$B_/x/d" && mount -t tmpfs none "$B_/x/d" 2>/dev/null; then
	extra_mounts="$B_/x/d"
	blocked "a mount in the tree, which is never crossed" 'mount\|file system\|device'
	umount "$B_/x/d"; extra_mounts=
else
	echo "# skip: nothing can be mounted here"
fi
mkdir -p "$B_/x/d"; : >"$B_/x/d/f"
if chattr +i "$B_/x/d/f" 2>/dev/null; then
	blocked "a file that cannot be changed" 'immutable'
	chattr -i "$B_/x/d/f"
else
	echo "# skip: no immutable files here"
fi
run 0 "when nothing is in the way it comes online" b online r
same a b srv/x; ok $? "whole"
plan
