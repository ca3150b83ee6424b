#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The module as a person gets it: built by DKMS from what module-install copies,
# with everything that modinfo shows. Nothing of this machine is touched.

cd "$(dirname "$0")/../.." || exit 1
dkms=$(command -v dkms || command -v /usr/sbin/dkms)
if [ -z "$dkms" ]; then
	echo "1..0 # SKIP no dkms here (scripts/deps.sh vm)"
	exit 0
fi
PATH=$PATH:/usr/sbin:/sbin
d=$(mktemp -d) || exit 1
trap 'rm -rf "$d"' EXIT
trap 'exit 1' INT TERM HUP
# dkms makes a key to sign with where there is none
export mok_signing_key=$d/mok.key mok_certificate=$d/mok.pub
n=0

# what STATUS: one point; what was said, if it failed
what() {
	n=$((n + 1))
	if [ "$2" = 0 ]; then
		echo "ok $n - $1"
	else
		echo "not ok $n - $1"
		sed 's/^/# /' "$d/log" >&2
	fi
}

echo "1..9"
version=$(sed -n 's/^#define HF_MODULE_VERSION "\(.*\)"/\1/p' kernel/holdfast.h)
make -s DESTDIR="$d/root" module-install >"$d/log" 2>&1
what "make module-install copies the source" $?
src=$d/root/usr/src
grep -q "^PACKAGE_VERSION=\"$version\"" "$src/holdfast-$version/dkms.conf" 2>"$d/log" &&
	! grep -r '^[^#]*@VERSION@' "$src" >"$d/log"
what "dkms.conf has the version" $?

line=$(scripts/kernel.sh 6.12 2>"$d/log")
read -r _ release kdir _ <<<"$line"
[ -n "$kdir" ]
what "there is a kernel to build for" $?
mkdir "$d/tree" "$d/modules"
run() {
	timeout 240 "$dkms" "$@" --dkmstree "$d/tree" --sourcetree "$src" --installtree "$d/modules" \
		-m holdfast -v "$version" >"$d/log" 2>&1
}
run add
what "dkms add" $?
run build -k "$release" --kernelsourcedir "$kdir"
rc=$?
[ $rc = 0 ] || cat "$d"/tree/holdfast/"$version"/build/make.log >>"$d/log" 2>/dev/null
what "dkms build for $release" $rc
ko=$(find "$d/tree/holdfast/$version/$release" -name 'holdfast.ko*' 2>/dev/null)
[ -n "$ko" ] && case $(modinfo -F vermagic "$ko" 2>"$d/log") in
"$release "*) true ;;
*) false ;;
esac
what "it is for $release" $?

bad=
for field in license author description version alias depends retpoline name srcversion; do
	[ "$field" = depends ] || [ -n "$(modinfo -F "$field" "$ko" 2>/dev/null)" ] || bad="$bad $field"
done
echo "missing:$bad" >"$d/log"
[ -z "$bad" ] && [ "$(modinfo -F license "$ko")" = GPL ] &&
	[ "$(modinfo -F version "$ko")" = "$version" ] &&
	modinfo -F alias "$ko" | grep -qx 'net-pf-16-proto-16-family-holdfast'
what "modinfo is complete" $?
parms=$(modinfo -p "$ko" | sed 's/:.*//' | sort | tr '\n' ' ')
modinfo -p "$ko" >"$d/log"
[ "$parms" = "dirty_max marks_max stores_max stores_tracepoint " ] &&
	! modinfo -p "$ko" | grep -qv ':..*([a-z]*)$'
what "every parameter is described" $?

make -s DESTDIR="$d/root" module-uninstall >"$d/log" 2>&1 && ! find "$d/root" -type f | grep . >>"$d/log"
what "module-uninstall leaves nothing" $?
