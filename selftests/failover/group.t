#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# C45: one of a group hangs in its tree, as one whose server is gone does: the others are held up for a bounded time, it is
# said which it is, and they go on, alone and in other groups.
# shellcheck source=selftests/failover/lib.sh
export LEASE=500ms
. "$(dirname "$0")/lib.sh"
cluster a
R=$tmp/a/root/srv
# while $HANG exists nobody learns what "slow" is, or what is in $HANG_FILE
cat >"$tmp/hang.c" <<'C'
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
static void hang(void)
{
	while (!access(getenv("HANG"), F_OK))
		usleep(50000);
}
int statx(int dir, const char *name, int flags, unsigned mask, struct statx *s)
{
	int (*f)(int, const char *, int, unsigned, struct statx *) = dlsym(RTLD_NEXT, "statx");
	if (name && !strcmp(name, "slow")) hang();
	return f(dir, name, flags, mask, s);
}
ssize_t pread64(int fd, void *p, size_t n, off64_t o)
{
	ssize_t (*f)(int, void *, size_t, off64_t) = dlsym(RTLD_NEXT, "pread64");
	struct stat a, b;
	if (!fstat(fd, &a) && !stat(getenv("HANG_FILE"), &b) && a.st_dev == b.st_dev && a.st_ino == b.st_ino) hang();
	return f(fd, p, n, o);
}
C
${CC:-cc} -D_GNU_SOURCE -D_LARGEFILE64_SOURCE -shared -fPIC -o "$tmp/hang.so" "$tmp/hang.c" -ldl; ok $? "a tree that can hang"
up a LD_PRELOAD="$tmp/hang.so" HANG="$tmp/hangs" HANG_FILE="$R/nfs/file" ASAN_OPTIONS=verify_asan_link_order=0; ok $? "a node"
for r in nfs one two; do
	mkdir "$R/$r" && echo first >"$R/$r/file" && hf a resource add $r && hf a checkpoint add $r /srv/$r &&
		hf a resource set $r commit-timeout=1s && hf a online $r
done >/dev/null; ok $? "three resources"
echo slow >"$R/nfs/slow"
run 0 "a group" a sync --group one nfs two
gen() { field a "$1" generation; }

hangs() {
	was="$(gen one) $(gen two)"
	touch "$tmp/hangs"; rm -f "$tmp/rc"
	{ hf a sync --group one nfs two >"$tmp/group" 2>&1; echo $? >"$tmp/rc"; } &
	until_true 30 test -s "$tmp/rc"; is "$(cat "$tmp/rc")" 1 "$1: the group fails"
	why=$(cat "$tmp/group"); grep -q 'nfs: its trees have not answered for .*; it is no group' "$tmp/group"; ok $? "  it is said why"
	is "$(gen one) $(gen two)" "$was" "  nothing of it was committed"
	run 0 "  another group goes on" a sync --group one two
	echo "$1" >"$R/one/file"
	run 0 "  and one by itself" a sync one
	run 0 "  which can be stopped" a offline one
	run 0 "  and started" a online one
	run 1 "  who comes back to it does not wait for ever" a sync --group two nfs
	says err 'nfs: this node is busy with it already' "  it is said why"
	rm "$tmp/hangs"
	until_true 20 hf a sync --group one nfs two; ok $? "  when it answers it is of a group again"
}
hangs "an entry cannot be looked at"
# no event tells of it: the group finds it
rm "$R/nfs/slow"; ln "$R/nfs/file" "$tmp/a/outside"; hf a sync nfs >/dev/null
echo more >>"$tmp/a/outside"
hangs "contents cannot be read"
is "$(hf a restore nfs --to "$tmp/look" >/dev/null; cat "$tmp/look/srv/nfs/file")" "first
more" "P1: they are there then"
plan
