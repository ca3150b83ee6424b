#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# module.sh build KDIR DIR      build holdfast.ko for the kernel of KDIR, in
#                               DIR/RELEASE; its path goes to stdout
# module.sh tests KDIR DIR      the same, and the modules of selftests/kernel
# module.sh install DESTDIR     install the source for DKMS, and with an empty
#                               DESTDIR build and install the module with it
# module.sh uninstall DESTDIR   undo that
#
# `make module`, `make module-install` and `make module-uninstall` call this.
# kbuild puts what it makes beside the source: so each kernel gets a directory
# of links to it.

set -u
cd "$(dirname "$0")/.." || exit 1
export LC_ALL=C
top=$PWD
version=$(sed -n 's/^#define HF_MODULE_VERSION "\(.*\)"/\1/p' kernel/holdfast.h)

die() {
	echo "module.sh: $*" >&2
	exit 1
}

# all that the module is built from
sources() {
	echo Kbuild
	find kernel include/uapi -type f -name '*.[ch]'
}

build() {
	kdir=$1
	uts=$kdir/include/generated/utsrelease.h
	if [ ! -r "$uts" ]; then
		echo "module.sh: $kdir holds no kernel that a module can be built for." >&2
		case $kdir in
		/lib/modules/*/build)
			release=${kdir#/lib/modules/}
			die "Install its headers (Debian: apt-get install linux-headers-${release%/build})," \
				"or name others: make module KDIR=/lib/modules/RELEASE/build" ;;
		esac
		die "KDIR is what /lib/modules/RELEASE/build leads to, or a built kernel tree."
	fi
	release=$(sed -n 's/^#define UTS_RELEASE "\(.*\)"/\1/p' "$uts")
	[ -n "$release" ] || die "$uts does not say which release it is"
	dir=$2/$release
	sources | while IFS= read -r f; do
		case $f in */*) mkdir -p "$dir/${f%/*}" ;; *) mkdir -p "$dir" ;; esac &&
			ln -sf "$top/$f" "$dir/$f" || exit 1
	done || die "cannot make links below $dir"
	quiet=
	[ "${V-}" != s ] || quiet=-s
	# shellcheck disable=SC2086
	${HF_MAKE:-make} --no-print-directory $quiet -C "$kdir" M="$dir" modules >&2 ||
		die "holdfast.ko could not be built for $release (above)"
	echo "$dir/holdfast.ko"
}

# they include sources of the module, and so lie as they do in the source tree
build_tests() {
	tests=$dir/selftests/kernel
	mkdir -p "$tests" && ln -sf "$top"/selftests/kernel/Kbuild "$top"/selftests/kernel/hf_*.c "$tests" ||
		die "cannot make links in $tests"
	# shellcheck disable=SC2086
	${HF_MAKE:-make} --no-print-directory $quiet -C "$kdir" M="$tests" modules >&2 ||
		die "the test modules could not be built for $release (above)"
}

need_dkms() {
	command -v dkms >/dev/null ||
		die "dkms is missing: install it (Debian: apt-get install dkms), or build without it: make module"
}

install_source() {
	dest=$1/usr/src/holdfast-$version
	sources | while IFS= read -r f; do
		install -D -m 0644 "$f" "$dest/$f" || exit 1
	done || die "cannot install into $dest"
	sed "s/@VERSION@/$version/" dkms.conf >"$dest/dkms.conf" || exit 1
	chmod 0644 "$dest/dkms.conf"
}

remove_source() {
	dest=$1/usr/src/holdfast-$version
	[ -d "$dest" ] || return 0
	sources | while IFS= read -r f; do rm -f "$dest/$f"; done
	rm -f "$dest/dkms.conf"
	find "$dest" -depth -type d -empty -delete
	[ ! -d "$dest" ] || echo "module.sh: left in place, as there is more in it: $dest" >&2
}

# what DKMS knows of this version, for whichever kernels
dkms_remove() {
	[ -n "$(dkms status -m holdfast -v "$version")" ] || return 0
	dkms remove -m holdfast -v "$version" --all ||
		die "dkms cannot remove holdfast/$version (above)"
}

[ -n "$version" ] || die "kernel/holdfast.h does not say which version it is"
case ${1-}:$# in
build:3) build "$2" "$3" ;;
tests:3) build "$2" "$3" && build_tests ;;
install:2)
	[ -n "$2" ] || { need_dkms; dkms_remove; }
	install_source "$2"
	[ -n "$2" ] || dkms install -m holdfast -v "$version" ||
		die "dkms could not install holdfast/$version (above); its source is in /usr/src/holdfast-$version"
	;;
uninstall:2)
	[ -n "$2" ] || { need_dkms; dkms_remove; }
	remove_source "$2" ;;
*)
	sed -n 's/^# \(module.sh [a-z]* [A-Z].*\)/usage: \1/p' scripts/module.sh >&2
	exit 2 ;;
esac
