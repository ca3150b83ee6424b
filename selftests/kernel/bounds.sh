#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# The dirty set and the marks within bounds: bounds.c.

echo "TAP version 13"
modprobe holdfast || { echo "Bail out! the module cannot be loaded"; exit 1; }
mkdir ext4 tmpfs
mount -t tmpfs -o size=16m bounds tmpfs || { echo "Bail out! there is nothing to mount"; exit 1; }
bounds ext4=ext4 tmpfs=tmpfs
status=$?
umount tmpfs
exit $status
