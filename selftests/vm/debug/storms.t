#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# The module on the debug kernel: group storms of inside.sh.
exec "$(dirname "$0")/../inside.sh" debug storms
