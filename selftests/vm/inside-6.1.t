#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# The module on Debian's kernel 6.1: all that runs inside one machine.
exec "$(dirname "$0")/inside.sh" 6.1
