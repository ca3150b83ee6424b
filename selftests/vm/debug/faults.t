#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Allocations of the module fail, on the debug kernel.
cd "$(dirname "$0")" || exit 1
tests=../../kernel
exec ../run -k debug -t 900 --file "$tests/debug/lib.sh:/hf/tests/lib.sh" "$tests/debug/faults.sh"
