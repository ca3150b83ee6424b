#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# The dirty set by itself: the tests are in a module (hf_dirty_test.c).

echo "TAP version 13"
if ! insmod "/lib/modules/$(uname -r)/extra/hf_dirty_test.ko"; then
	status=1
else
	status=0
	rmmod hf_dirty_test
fi
dmesg | sed -n 's/^.*hf_dirty_test: //p' >/tmp/dirty.tap
cat /tmp/dirty.tap
grep -q '^1\.\.' /tmp/dirty.tap && ! grep -q '^not ok' /tmp/dirty.tap && exit $status
echo "Bail out! hf_dirty_test.ko did not run to its end"
exit 1
