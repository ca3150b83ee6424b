#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# consumer.c; nothing is left of it when the module goes.

consumer
status=$?
rmmod holdfast || status=1
exit $status
