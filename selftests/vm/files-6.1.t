#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# One file, and what is left out of a tree, with the module on Debian's kernel 6.1.
exec "$(dirname "$0")/files.py" 6.1
