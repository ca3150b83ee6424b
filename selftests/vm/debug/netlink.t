#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# The module's family on the debug kernel.
exec "$(dirname "$0")/../netlink.sh" debug
