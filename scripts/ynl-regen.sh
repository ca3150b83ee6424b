#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# ynl-regen.sh [-c]: make the uapi header and the kernel's policy from
# Documentation/netlink/specs/holdfast.yaml, with the generator of the kernel's
# own tree (tools/net/ynl; scripts/linux-source.sh finds it). -c: compare only;
# exits 1 if what is there is not what the generator makes.

set -eu
cd "$(dirname "$0")/.."
check=
[ "${1-}" != -c ] || check=1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM HUP

src=$(scripts/linux-source.sh) || exit 2

# the generator wants a tree of its own kind around the spec
tree=$work/tree
mkdir -p "$tree/tools/net" "$tree/Documentation/netlink/specs" \
	"$tree/include/uapi/linux" "$tree/kernel"
cp -r "$src/tools/net/ynl" "$tree/tools/net/"
cp "$src"/Documentation/netlink/*.yaml "$tree/Documentation/netlink/"
cp Documentation/netlink/specs/holdfast.yaml "$tree/Documentation/netlink/specs/"
: >"$tree/MAINTAINERS"

gen() {	# OUT ARGS...
	out=$1
	shift
	(cd "$tree" && timeout 60 python3 tools/net/ynl/ynl-gen-c.py \
		--spec Documentation/netlink/specs/holdfast.yaml "$@" -o "$out")
	if [ -z "$check" ]; then
		cp "$tree/$out" "$out"
	elif ! diff -u "$out" "$tree/$out" >&2; then
		echo "ynl-regen.sh: $out is not what the spec says; run scripts/ynl-regen.sh" >&2
		bad=1
	fi
}
bad=0
gen include/uapi/linux/holdfast.h --mode uapi --header
gen kernel/netlink_gen.h --mode kernel --header
gen kernel/netlink_gen.c --mode kernel --source
exit $bad
