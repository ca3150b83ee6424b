#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# inside.sh KERNEL: the tests of selftests/kernel, and those of selftests/track
# that need the module, in one machine.

here=$(cd "$(dirname "$0")" && pwd)
build=${HF_BUILD:-$here/../../build}
release=$("$here/../../scripts/kernel.sh" "$1") || exit 1
release=$(echo "$release" | cut -d ' ' -f 2)

tests=
for t in "$here"/../kernel/*.sh; do
	tests="$tests ${t##*/}"
done
# shellcheck disable=SC2086
exec "$here/run" -k "$1" --module nfsd --module nfsv4 \
	--file "$build/kernel/$release/selftests/kernel/hf_dirty_test.ko:/lib/modules/$release/extra/hf_dirty_test.ko" \
	$tests netlink "$build/selftests/track/t_kernel"
