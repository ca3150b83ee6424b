#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# P3 with the module, under writers that chain, on Debian's kernel 6.1.
exec "$(dirname "$0")/cut.py" 6.1
