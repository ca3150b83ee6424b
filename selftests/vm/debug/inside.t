#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# All that runs inside one machine, on the debug kernel.
exec "$(dirname "$0")/../inside.sh" debug all
