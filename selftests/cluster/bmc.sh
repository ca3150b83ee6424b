#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# bmc.sh DIR CGROUP: the power controller of the nodes, outside of them and of
# their network. A request is a file DIR/NAME.req that holds "off NODE"; when the
# node is dead NAME.done appears. DIR/log is the oracle of who was fenced. While there
# is DIR/lies it only says that a node is dead.

cd "$1" || exit 1
while :; do
	for q in *.req; do
		[ -e "$q" ] || continue
		read -r action node <"$q"
		case $node in
		n[0-9])
			if [ -e lies ]; then
				action=spared
			elif [ "$action" = off ] && [ -e "$2/$node/cgroup.kill" ]; then
				echo 1 >"$2/$node/cgroup.kill"
				while [ -n "$(cat "$2/$node/cgroup.procs")" ]; do sleep 0.01; done
			fi ;;
		esac
		echo "$(date +%s.%N) $action $node" >>log
		rm -f "$q"
		: >"${q%.req}.done"
	done
	sleep 0.05
done
