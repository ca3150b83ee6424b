#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# The module's family on Debian's kernel 6.12.
exec "$(dirname "$0")/netlink.sh" 6.12
