#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Crypto checkpoints and netlink messages, with the module on Debian's kernel 6.12.
exec "$(dirname "$0")/keys.py" 6.12
