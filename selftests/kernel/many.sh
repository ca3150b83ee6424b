#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# many.c, with a machine's defaults; nothing is left of it when the module goes.

many
status=$?
rmmod holdfast || status=1
exit $status
