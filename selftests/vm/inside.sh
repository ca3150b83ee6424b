#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# inside.sh KERNEL GROUP: tests of selftests/kernel that share one machine.
#   changes   what is noted of each operation, stores, with hardly any memory
#   storms    many directories, many trees, many processes
#   inside    all others, and those of selftests/track that need the module
#   all       all of them

here=$(cd "$(dirname "$0")" && pwd)
build=${HF_BUILD:-$here/../../build}
release=$("$here/../../scripts/kernel.sh" "$1") || exit 1
release=$(echo "$release" | cut -d ' ' -f 2)

group_of() {
	case $1 in
	changes* | stores* | bounds* | race*) echo changes ;;
	birth* | storm* | many*) echo storms ;;
	*) echo inside ;;
	esac
}

tests=
for t in "$here"/../kernel/*.sh; do
	case $2 in all | "$(group_of "${t##*/}")") tests="$tests ${t##*/}" ;; esac
done
case $2 in all | inside) tests="$tests netlink $build/selftests/track/t_kernel" ;; esac
# shellcheck disable=SC2086
exec "$here/run" -k "$1" --module nfsd --module nfsv4 \
	--file "$build/kernel/$release/selftests/kernel/hf_dirty_test.ko:/lib/modules/$release/extra/hf_dirty_test.ko" \
	$tests
