#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# X11: what no event reports, with the module, on Debian's kernel 6.12.
exec "$(dirname "$0")/unseen.py" 6.12
