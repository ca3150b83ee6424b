#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# The daemon is killed under a writer, on Debian's kernel 6.1.
exec "$(dirname "$0")/kill.py" 6.1
