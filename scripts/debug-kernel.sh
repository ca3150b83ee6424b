#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# debug-kernel.sh CACHE: build the kernel of `make check-debug` from Debian's
# source package and selftests/vm/debug.config, unless CACHE has it already.
# Prints the same line as kernel.sh, which calls this for the version "debug".
#
# It is kept by what it is made of: configuration, source, compiler. Of the
# source nothing stays but what modules are built with.

set -u
export LC_ALL=C
here=$(cd "$(dirname "$0")" && pwd) || exit 1
config=$here/../selftests/vm/debug.config
package=linux-source-6.12

die() {
	echo "debug-kernel.sh: $*" >&2
	exit 1
}

[ $# = 1 ] || { echo "usage: debug-kernel.sh CACHE" >&2; exit 2; }
cache=$(cd "$1" && pwd) || exit 1
tarball=/usr/src/$package.tar.xz
[ -r $tarball ] || die "$tarball is missing; scripts/deps.sh debug installs it"
for tool in flock make gcc flex bison bc xz sha256sum depmod; do
	command -v "$tool" >/dev/null || die "$tool is missing; scripts/deps.sh debug installs it"
done

version=$(dpkg-query -W -f '${Version}' $package 2>/dev/null) || version=$(cksum <$tarball)
hash=$({ echo "$version" && gcc -dumpfullversion && cat "$config"; } | sha256sum | cut -c -16)
name=debug-$hash

# apart from kernel.sh's, which is not to wait for a compiler
exec 9>"$cache/lock.debug" || die "cannot write in $cache"
flock 9 || die "cannot lock $cache/lock.debug"
work=
cleanup() {
	[ -z "$work" ] || rm -rf "$work"
	work=
}
# what one that was killed left; nobody else can have one now
rm -rf "$cache"/.debug.*
trap cleanup EXIT
trap 'exit 1' INT TERM HUP

# kmake TARGET...: make, but no part of a make that called this
kmake() {
	env -u MAKEFLAGS -u MAKELEVEL -u MFLAGS make -C "$src" O="$work/build" -j"${JOBS:-2}" "$@"
}

configure() {
	KCONFIG_ALLCONFIG=$config kmake -s allnoconfig || return 1
	# an option whose dependencies are not met is left out without a word
	grep '^CONFIG_\|^# CONFIG_' "$config" | while IFS= read -r line; do
		case $line in
		"# "*) ! grep -q "^${line#"# "}=" "$work/build/.config" 2>/dev/null ;;
		*) grep -qxF -e "$line" "$work/build/.config" ;;
		esac || { echo "not so in the configuration: $line"; exit 1; }
	done
}

build() {
	mkdir "$work/source" "$work/build" "$work/root" &&
		tar -C "$work/source" --strip-components=1 -xf $tarball || return 1
	src=$work/source
	configure || return 1
	release=$(kmake -s --no-print-directory kernelrelease) || return 1
	headers=$work/root/usr/src/linux-headers-$release
	kmake bzImage modules || return 1
	kmake INSTALL_MOD_PATH="$work/root" modules_install &&
		kmake run-command KBUILD_RUN_COMMAND="\$(srctree)/scripts/package/install-extmod-build $headers" ||
		return 1
	m=$work/root/lib/modules/$release
	mkdir "$work/root/boot" &&
		cp "$work/build/arch/x86/boot/bzImage" "$work/root/boot/vmlinuz-$release" &&
		ln -sfn "../../../usr/src/linux-headers-$release" "$m/build" &&
		rm -f "$m/source" && echo "$release" >"$work/root/release"
}

if [ ! -d "$cache/$name" ]; then
	work=$(mktemp -d "$cache/.debug.XXXXXX") || exit 1
	echo "debug-kernel.sh: building $package $version with selftests/vm/debug.config" >&2
	if ! build >"$work/log" 2>&1; then
		grep -e 'rror' -e '^not so' "$work/log" | head -n 10 >&2
		tail -n 10 "$work/log" >&2
		die "the kernel cannot be built (above)"
	fi
	# the name comes last: a directory that has it is whole
	mv "$work/root" "$cache/$name" || die "cannot rename to $cache/$name"
fi
release=$(cat "$cache/$name/release") || exit 1
k=$cache/$name
echo "debug $release $k/usr/src/linux-headers-$release $k/boot/vmlinuz-$release $k/lib/modules/$release"
