#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# many.c, with a machine's defaults; nothing is left of it when the module goes.

# a kernel that looks for bugs takes a second for each time
case $(uname -r) in *hfdebug) times=200 ;; *) times=5000 ;; esac
many $times
status=$?
rmmod holdfast || status=1
exit $status
