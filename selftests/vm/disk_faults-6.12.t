#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# The quorum disk fails, hangs, goes away and lies, on Debian's kernel 6.12.
exec "$(dirname "$0")/disk_faults.py" 6.12
