#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# fresh.sh [COMMAND...]: a clean clone of HEAD in a new Debian 12 that has git and
# make and nothing else; there, as root, COMMAND (`make check`). Shows that
# scripts/deps.sh knows everything. Takes minutes and the network.
#
# WORKTREE=1 takes the files as they are instead of HEAD. KEEP=1 keeps the chroot.

set -eu
cd "$(dirname "$0")/.."
[ $# -gt 0 ] || set -- make check
dir=$(mktemp -d /var/tmp/hffresh.XXXXXX)
# the mounts are in a namespace of their own, and gone with it
trap '[ -n "${KEEP-}" ] && echo "kept: $dir" || rm -rf --one-file-system "$dir"' EXIT

mmdebstrap --mode=root --variant=minbase --include=git,make,ca-certificates bookworm "$dir/root" \
	>"$dir/log" 2>&1 || { tail -n 20 "$dir/log"; exit 1; }
if [ -n "${WORKTREE-}" ]; then
	mkdir "$dir/root/src"
	git ls-files -co --exclude-standard -z | xargs -0 cp -a --parents -t "$dir/root/src"
	git -C "$dir/root/src" init -q
	git -C "$dir/root/src" add -A
else
	git clone -q --no-hardlinks . "$dir/root/src"
fi
cp /etc/resolv.conf "$dir/root/etc/resolv.conf"

# A root of its own, not chroot: tests make mount namespaces in there.
# shellcheck disable=SC2016
unshare -m -p -f --propagation private --kill-child bash -c '
	root=$1
	shift
	mount --bind "$root" "$root"
	cd "$root"
	mount -t proc proc proc
	mount --rbind /dev dev
	mount --rbind /sys sys
	mkdir old
	pivot_root . old
	exec env -i HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin TERM=dumb \
		sh -c "umount -l /old && rmdir /old && cd /src && exec \"\$@\"" sh "$@"' fresh "$dir/root" "$@"
