#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# linux-source.sh: print a directory that holds the kernel's own tools, as far as
# the checks of this repository use them: checkpatch, its semantic patches, the
# generator of netlink families and their client. They are of Debian's
# linux-source-6.12, unpacked once into the cache of scripts/kernel.sh (1 MB;
# reading the archive takes 10 s).
#
# LINUX_SOURCE names another kernel source tree.

set -u
export LC_ALL=C
ball=/usr/src/linux-source-6.12.tar.xz

if [ -n "${LINUX_SOURCE-}" ]; then
	echo "$LINUX_SOURCE"
	exit 0
fi
if [ ! -r $ball ]; then
	echo "linux-source.sh: $ball is not there; install linux-source-6.12" \
		"(scripts/deps.sh vm), or set LINUX_SOURCE to a kernel source tree" >&2
	exit 1
fi
cache=${HF_KERNELS-}
if [ -z "$cache" ]; then
	cache=${XDG_CACHE_HOME:-${HOME:-/nonexistent}/.cache}/holdfast/kernels
	[ "$(id -u)" != 0 ] || cache=/var/cache/holdfast/kernels
fi
mkdir -p "$cache/source" && cache=$(cd "$cache/source" && pwd) && exec 9>"$cache/lock" && flock 9 || {
	echo "linux-source.sh: cannot write in $cache; name another place with HF_KERNELS" >&2
	exit 1
}

# its name says what was taken from which archive
set -- 'scripts/checkpatch.pl' 'scripts/spelling.txt' 'scripts/const_structs.checkpatch' \
	'scripts/coccinelle/*' 'tools/net/ynl/ynl-gen-c.py' 'tools/net/ynl/cli.py' \
	'tools/net/ynl/lib/*.py' 'Documentation/netlink/*.yaml'
dir=$cache/$({ stat -c '%s %Y' $ball; echo "$@"; } | sha256sum | cut -c 1-12)
if [ ! -d "$dir" ]; then
	for p; do
		set -- "$@" "*/$p"
		shift
	done
	# what one that was killed left goes; the name comes last: what has it is whole
	rm -rf "$dir.new"
	mkdir "$dir.new" && tar -C "$dir.new" -xf $ball --strip-components=1 --wildcards "$@" &&
		mv "$dir.new" "$dir" || {
		echo "linux-source.sh: cannot unpack $ball into $cache (above)" >&2
		exit 1
	}
fi
echo "$dir"
