#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Prints the path of a root file system for the cluster's nodes, and builds it
# if it is not there yet: Debian with Pacemaker, the libraries that holdfastd needs,
# PostgreSQL and CUPS, 45 s and 400 MB. Nodes use it read-only, below an overlay.
# With the argument "image" the path of an ext4 image of it, for machines, and that too is
# built if it is not there yet.
#
# HF_CACHE: where it is kept (default: $HF_BUILD/cluster, gone after make clean).

set -u
suite=bookworm
packages=pacemaker,pacemaker-cli-utils,pacemaker-resource-agents,corosync,iproute2,procps
packages+=,psmisc,attr,acl,strace,libsodium23,libssl3,libzstd1,libinih1,libmnl0,libkmod2,libnl-3-200,libnl-genl-3-200,libjson-c5,libcap2
packages+=,libsystemd0,libblkid1,kmod,resource-agents,postgresql-15,cups-daemon,cups-client
# what of it no test needs: compiled queries want 150 MB of compiler
without='/usr/share/man/* /usr/share/locale/* /usr/share/doc/* /usr/lib/x86_64-linux-gnu/libLLVM* /usr/lib/x86_64-linux-gnu/libz3*'
without+=' /usr/lib/postgresql/*/lib/bitcode/*'
options=(--variant=minbase --include="$packages" --dpkgopt=force-unsafe-io --aptopt='Acquire::Retries "3"')
set -f
for path in $without; do options+=(--dpkgopt="path-exclude=$path"); done
set +f

cache=${HF_CACHE:-${HF_BUILD:?HF_BUILD is the absolute path of the build directory}/cluster}
mkdir -p "$cache" || exit 1
exec 9>"$cache/lock"
flock 9

key=$(printf '%s\n' "$suite" "${options[@]}" | sha256sum | cut -c 1-12)
root=$cache/rootfs-$key
if [ ! -e "$root/.complete" ]; then
	tmp=$cache/tmp-$key
	rm -rf "$tmp" "$root"
	mkdir "$tmp" || exit 1
	if ! mmdebstrap --mode=root "${options[@]}" $suite "$tmp" >"$cache/build.log" 2>&1 9>&-; then
		tail -n 15 "$cache/build.log" >&2
		rm -rf "$tmp"
		exit 1
	fi
	# nothing of the host's network is needed in there
	: >"$tmp/etc/resolv.conf"
	chmod 755 "$tmp"
	touch "$tmp/.complete"
	mv "$tmp" "$root" || exit 1
fi
[ "${1-}" = image ] || { echo "$root"; exit 0; }

image=$root.ext4
if [ ! -e "$image" ]; then
	size=$(du -sm "$root" | cut -f 1)
	rm -f "$image.tmp"
	# nobody writes to it, and it is made again when this machine went down meanwhile
	truncate -s $((size * 5 / 4 + 64))M "$image.tmp" && mke2fs -q -t ext4 -O ^has_journal -m 0 -d "$root" "$image.tmp" &&
		sync "$image.tmp" && mv "$image.tmp" "$image" || { rm -f "$image.tmp"; exit 1; }
fi
echo "$image"
