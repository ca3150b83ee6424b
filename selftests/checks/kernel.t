#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# What compilers, sparse and the kernel's own tools say of the module.

exec "$(dirname "$0")/checks.t" ynl module checkpatch coccinelle
