#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# newest.sh: build holdfast.ko and its test modules for the newest kernel that
# Debian ships (sid), with sid's compiler, where a warning is an error. Says which
# kernel that was. It needs root and, to know what is newest, the network.
#
# `make module-newest` calls this. A chroot of sid (430 MB) is kept beside the
# stock kernels of scripts/kernel.sh, and made anew when sid has another kernel.

set -u
cd "$(dirname "$0")/.." || exit 1
export LC_ALL=C
package=linux-headers-amd64

die() {
	echo "newest.sh: $*" >&2
	exit 1
}

[ "$(id -u)" = 0 ] || die "only root can make and enter a chroot"
for tool in mmdebstrap apt-get unshare flock; do
	command -v "$tool" >/dev/null || die "$tool is missing; scripts/deps.sh newest installs it"
done
build=${HF_BUILD:-$PWD/build}/newest
cache=${HF_KERNELS:-/var/cache/holdfast/kernels}/sid
mkdir -p "$cache" || exit 1
cache=$(cd "$cache" && pwd) || exit 1
exec 9>"$cache/lock" && flock 9 || die "cannot lock $cache/lock"

# what one that was killed left; nobody else can have one now
rm -rf --one-file-system "$cache"/.new.*
work=$(mktemp -d "$cache/.new.XXXXXX") || exit 1
trap 'rm -rf --one-file-system "$work"' EXIT
trap 'exit 1' INT TERM HUP

# the mirror that this machine uses, and how it reaches it
# shellcheck disable=SC2016
mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Label: Debian' \
	'Component: main' 2>/dev/null | head -n 1)
[ -n "$mirror" ] || die "apt knows no mirror of Debian here; was 'apt-get update' run?"
apt_conf() {
	apt-config dump --no-empty --format '%F "%v";%n' Acquire |
		grep -i -E '^Acquire::(Check-|http|https|Retries)'
}

# the version of the newest headers
newest() {
	apt_conf >"$work/apt.conf"
	cat >>"$work/apt.conf" <<-X
	Dir::Etc::SourceList "$work/list";
	Dir::Etc::SourceParts "-";
	Dir::State::Lists "$work/lists";
	Dir::State::Status "/dev/null";
	Dir::Cache "$work/cache";
	APT::Sandbox::User "root";
	Acquire::Languages "none";
	X
	mkdir -p "$work/lists/partial" "$work/cache/archives/partial"
	echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror sid main" >"$work/list"
	APT_CONFIG=$work/apt.conf apt-get -q update >"$work/log" 2>&1 || return 1
	APT_CONFIG=$work/apt.conf apt-cache show --no-all-versions $package 2>>"$work/log" |
		sed -n 's/^Version: //p'
}

make_root() {
	local options=()
	while IFS= read -r line; do options+=(--aptopt="$line"); done < <(apt_conf)
	mkdir "$work/root" && chmod 755 "$work/root" &&
		mmdebstrap --mode=root --variant=apt --include=$package,gcc,make "${options[@]}" \
			--dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
			sid "$work/root" "$mirror" >"$work/log" 2>&1 9>&-
}

version=$(newest)
root=$cache/$version
if [ -z "$version" ]; then
	tail -n 5 "$work/log" >&2
	root=$(printf '%s\n' "$cache"/[0-9]* | sort -V | tail -n 1)
	version=${root##*/}
	[ -d "$root" ] || die "cannot ask $mirror what is newest (above)"
	echo "newest.sh: cannot ask $mirror what is newest (above); using $version" >&2
elif [ ! -d "$root" ]; then
	echo "newest.sh: fetching sid with $package $version from $mirror" >&2
	make_root || { tail -n 15 "$work/log" >&2; die "cannot make a chroot of sid (above)"; }
	for old in "$cache"/[0-9]*/; do
		[ ! -d "$old" ] || rm -rf --one-file-system "$old"
	done
	# the name comes last: a directory that has it is whole
	mv "$work/root" "$root" || exit 1
fi
release=$(sed -n 's/^#define UTS_RELEASE "\(.*\)"/\1/p' \
	"$root"/usr/src/linux-headers-*/include/generated/utsrelease.h)
[ -d "$root/lib/modules/$release/build/" ] || die "$root holds no headers; remove it, and try again"

# What was compiled before would not warn again.
rm -rf "$build" && mkdir -p "$build" || exit 1
# The mounts are in a namespace of their own, and gone with it.
# shellcheck disable=SC2016
inside='mount --bind "$2" "$1/mnt" && mount -o remount,bind,ro "$1/mnt" &&
	mount --bind "$3" "$1/srv" && mount -t proc proc "$1/proc" && cd / || exit 1
	exec chroot "$1" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C HF_MAKE="make -j2 W=1" V=s \
		/mnt/scripts/module.sh tests "/lib/modules/$4/build" /srv'
out=$(unshare --mount --pid --fork --kill-child sh -c "$inside" sh "$root" "$PWD" "$build" "$release" 2>&1 9>&-)
rc=$?
if [ $rc != 0 ] || grep -qi -E 'warning:|error:' <<<"$out"; then
	printf '%s\n' "$out" >&2
	die "holdfast.ko does not build cleanly for $release (above)"
fi
echo "holdfast.ko builds without a warning for $release ($package $version)," \
	"$(chroot "$root" gcc -dumpfullversion | sed 's/^/gcc /')"
