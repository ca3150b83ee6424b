#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# kernel.sh [-d CACHE] VERSION...: fetch Debian 12's stock kernels, and what
# modules are built with, without installing anything. VERSION: 6.1, 6.12, or
# debug: a 6.12 that finds bugs, built from source (debug-kernel.sh).
# Prints for each:  VERSION RELEASE KDIR VMLINUZ MODULESDIR
#
# The packages themselves would put a kernel into /boot and make it the default.
# CACHE: $HF_KERNELS, or /var/cache/holdfast/kernels for root, or below
# $XDG_CACHE_HOME. What is there already is not fetched again.

set -u
export LC_ALL=C

die() {
	echo "kernel.sh: $*" >&2
	exit 1
}

usage() {
	echo "usage: kernel.sh [-d CACHE] 6.1|6.12|debug..." >&2
	exit 2
}

cache=${HF_KERNELS-}
while getopts d: opt; do
	case $opt in
	d) cache=$OPTARG ;;
	*) usage ;;
	esac
done
shift $((OPTIND - 1))
[ $# -gt 0 ] || usage
for v; do
	case $v in 6.1 | 6.12 | debug) ;; *)
		echo "kernel.sh: there is no kernel '$v' to test with; there are 6.1, 6.12 and debug" >&2
		exit 2 ;;
	esac
done

if [ -z "$cache" ]; then
	cache=${XDG_CACHE_HOME:-${HOME:-/nonexistent}/.cache}/holdfast/kernels
	[ "$(id -u)" != 0 ] || cache=/var/cache/holdfast/kernels
fi
mkdir -p "$cache" || die "cannot make the cache directory $cache; name another with -d or HF_KERNELS"
cache=$(cd "$cache" && pwd) || exit 1
for tool in flock depmod; do
	command -v "$tool" >/dev/null || die "$tool is missing; scripts/deps.sh vm installs it"
done

# The other one may be downloading: its result is then used.
exec 9>"$cache/lock" || die "cannot write in $cache; name another place with -d or HF_KERNELS"
flock 9 || die "cannot lock $cache/lock"

work=
cleanup() {
	[ -z "$work" ] || rm -rf "$work"
	work=
}
# what one that was killed left; nobody else can have one now
rm -rf "$cache"/.new.*
trap cleanup EXIT
trap 'exit 1' INT TERM HUP

meta() {
	case $1 in
	6.1) echo linux-image-amd64 ;;
	6.12) echo linux-image-6.12-amd64 ;;
	esac
}

depends() {
	apt-cache depends "$1" 2>/dev/null | sed -n 's/^[ |]*Depends: //p'
}

# resolve VERSION: sets release, packages, name (of the directory in the cache)
resolve() {
	release=$(depends "$(meta "$1")" | sed -n 's/^linux-image-\([0-9].*\)$/\1/p' | head -n 1)
	case $release in
	"$1".*) ;;
	*) return 1 ;;
	esac
	packages="linux-image-$release linux-headers-$release"
	for p in $(depends "linux-headers-$release"); do
		case $p in
		linux-headers-*-common | linux-kbuild-*) packages="$packages $p" ;;
		esac
	done
	version=$(apt-cache show --no-all-versions "linux-image-$release" 2>/dev/null |
		sed -n 's/^Version: //p')
	[ -n "$version" ] || return 1
	name=${release}_$version
}

# the newest whole kernel of a line that is in the cache
cached() {
	for d in "$cache/$1".*_*; do
		[ ! -d "$d" ] || echo "${d##*/}"
	done | sort -V | tail -n 1
}

# All packages of one kernel, or nothing. Two of them may be of an odd version
# when the lists are old, and then a download fails.
fetch() {
	work=$(mktemp -d "$cache/.new.XXXXXX") || return 1
	mkdir "$work/deb" "$work/root" || return 1
	# shellcheck disable=SC2086
	(cd "$work/deb" && apt-get -q -o APT::Sandbox::User=root -o Acquire::Retries=2 \
		-o Acquire::http::Timeout=30 download $packages) >"$work/log" 2>&1 || return 1
	for deb in "$work"/deb/*.deb; do
		dpkg-deb -x "$deb" "$work/root" 2>>"$work/log" || return 1
	done
}

# The packages expect to lie in /; make them find each other where they are.
repair() {
	src=$work/root/usr/src/linux-headers-$release
	common=$(sed -n 's|^include /usr/src/\([^/]*\)/Makefile$|\1|p' "$src/Makefile")
	if [ -z "$common" ] || [ ! -f "$work/root/usr/src/$common/Makefile" ]; then
		die "$src/Makefile does not name its common part as Debian 12's do"
	fi
	# shellcheck disable=SC2016
	echo 'include $(dir $(lastword $(MAKEFILE_LIST)))../'"$common/Makefile" >"$src/Makefile"
	for d in "$src" "$work/root/usr/src/$common"; do
		for l in scripts tools; do
			[ -e "$d/$l/" ] || die "$d/$l leads nowhere (linux-kbuild is missing)"
		done
	done
	m=$work/root/lib/modules/$release
	[ -d "$m/kernel" ] || die "the package linux-image-$release holds no modules"
	ln -sfn "../../../usr/src/linux-headers-$release" "$m/build"
	ln -sfn "../../../usr/src/$common" "$m/source"
	depmod -b "$work/root" "$release" || die "depmod failed for $release"
	[ -s "$work/root/boot/vmlinuz-$release" ] ||
		die "the package linux-image-$release holds no vmlinuz"
}

updated=
update() {
	[ -z "$updated" ] || return 1
	updated=1
	[ "$(id -u)" = 0 ] || return 1
	echo "kernel.sh: apt-get update" >&2
	apt-get -q -o DPkg::Lock::Timeout=120 update >/dev/null 2>&1
}

log_of_failure() {
	[ -z "$work" ] || tail -n 5 "$work/log" >&2
}

provide() {
	old=$(cached "$1")
	name=
	if ! command -v apt-get >/dev/null || ! command -v dpkg-deb >/dev/null; then
		[ -z "$old" ] || { name=$old; return 0; }
		die "this is not a Debian system, and $cache holds no kernel $1; copy one there"
	fi
	if ! resolve "$1" && ! { update && resolve "$1"; }; then
		[ -z "$old" ] || { name=$old; return 0; }
		die "apt knows no package $(meta "$1") that is a kernel $1; is this Debian 12 with" \
			"its security updates, and was 'apt-get update' run?"
	fi
	[ ! -d "$cache/$name" ] || return 0
	echo "kernel.sh: fetching $packages" >&2
	if ! fetch; then
		log_of_failure
		cleanup
		if [ -n "$updated" ] || ! update || ! resolve "$1" || ! fetch; then
			log_of_failure
			if [ -n "$old" ]; then
				echo "kernel.sh: $name cannot be fetched (above); using $old" >&2
				name=$old
				return 0
			fi
			die "cannot fetch kernel $1 (above); is the network there? A filled" \
				"cache can be named with -d or HF_KERNELS"
		fi
	fi
	repair
	# the name comes last: a directory that has it is whole
	mv "$work/root" "$cache/$name" || die "cannot rename to $cache/$name"
	cleanup
}

for v; do
	if [ "$v" = debug ]; then
		# it has a lock of its own, and takes long
		flock -u 9
		"$(dirname "$0")/debug-kernel.sh" "$cache" || exit 1
		flock 9
		continue
	fi
	provide "$v"
	release=${name%_*}
	k=$cache/$name
	echo "$v $release $k/usr/src/linux-headers-$release $k/boot/vmlinuz-$release $k/lib/modules/$release"
done
