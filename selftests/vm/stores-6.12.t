#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Stores to shared mappings reach the store, on Debian's kernel 6.12.
exec "$(dirname "$0")/stores.py" 6.12
