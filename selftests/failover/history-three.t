#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# The history checker over three nodes: every fault once. SEED= repeats a run.
exec "$(dirname "$0")/history.py" --nodes 3 --seconds 80 ${SEED:+--seed "$SEED"}
