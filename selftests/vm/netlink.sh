#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# netlink.sh KERNEL: who may speak to the module's family, large dumps, what is
# malformed, and the kernel's own client, in one machine.

here=$(cd "$(dirname "$0")" && pwd)
ynl=$("$here/ynl.py") || exit 1
# shellcheck disable=SC2086
exec "$here/run" -k "$1" $ynl perm dumps "$here/guest/ynl" fuzz
