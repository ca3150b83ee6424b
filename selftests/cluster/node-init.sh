#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# node-init NODE: process 1 of a node, inside. Sets Holdfast up on the first boot
# as an administrator would (init on n1, the key copied, join on n2), then starts
# holdfastd, Corosync and Pacemaker, and reaps.

export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C
n=$1
cd /
umount -l /old
mkdir -p /run/lock /run/crm /run/holdfast /var/lib/corosync
chown hacluster:haclient /run/crm
: >/run/node-booted

for ((i = 0; i < 500; i++)); do
	ip -o -4 addr show dev eth0 2>/dev/null | grep -q inet && break
	sleep 0.02
done

if [ ! -e /etc/holdfast/holdfast.conf ]; then
	if [ "$n" = n1 ]; then
		holdfast init /dev/qdisk --name hftest --nodes 4 --lease "${LEASE:-1s}" &&
			cp /etc/holdfast/key /shared/key.tmp && mv /shared/key.tmp /shared/key
	else
		for ((i = 0; i < 300; i++)); do
			[ ! -e /shared/key ] || break
			sleep 0.1
		done
		install -m 600 /shared/key /etc/holdfast/key && holdfast join /dev/qdisk
	fi || echo "node-init: holdfast could not be set up"
fi
holdfastd >>/var/log/holdfastd.log 2>&1 &

corosync -f &
for ((i = 0; i < 100; i++)); do
	corosync-cfgtool -s >/dev/null 2>&1 && break
	sleep 0.1
done
set -a
# shellcheck source=/dev/null
. /etc/default/pacemaker
set +a
pacemakerd -f >>/var/log/pacemakerd.out 2>&1 &

while :; do
	wait -n 2>/dev/null || sleep 0.5
done
