#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# The module comes and goes under load, on the debug kernel.
CYCLES=${CYCLES:-15} exec "$(dirname "$0")/../load.py" debug
