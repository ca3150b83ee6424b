#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# The disk as it may be after a crash at any moment, on Debian's kernel 6.12.
exec "$(dirname "$0")/crash.py" 6.12
