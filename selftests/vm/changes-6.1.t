#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# The module on Debian's kernel 6.1: group changes of inside.sh.
exec "$(dirname "$0")/inside.sh" 6.1 changes
