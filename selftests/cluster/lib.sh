# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
#
# A cluster whose nodes are namespaces and cgroups of this machine. Sourced by
# the tests here, as root. Everything of a run lives in one directory ($W), one
# cgroup below our own ($CG), and network namespaces that no other reaches:
# the bridge is in one of its own, so nothing appears in the host's.
#
#   cluster_skip_reason          why this machine cannot do it, or nothing
#   cluster_up DIR ROOTFS        network and power controller; then, for each node:
#   node_new N                   its disk: configuration, agents, empty tree
#   node_start N, node_kill N    power on, power cut
#   node_x N COMMAND...          run in a node, for 30 s at most
#   cluster_down                 end all of it; for the EXIT trap
#
# A test may set NODES (n1 n2 ...) before it sources this, and afterwards define
# cib_resources anew, which prints what Pacemaker is to manage. Before a node is
# started it may write into DIR/binds, for all nodes: lines "PATH TARGET", where PATH
# is one of the node's own directories (below DIR/NODE) or a device of this machine.

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
: "${NODES:=n1 n2}"
NET=10.77.0
W='' CG='' HUB=''

node_ip() { echo "$NET.${1#n}"; }

# The second hierarchy of a mixed set-up is looked for as well.
cgroup_own() {
	local mnt own
	mnt=$(findmnt -n -t cgroup2 -o TARGET | head -n 1)
	own=$(sed -n 's/^0:://p' /proc/self/cgroup)
	[ -n "$mnt" ] && [ -n "$own" ] || return 1
	echo "$mnt${own%/}"
}

cluster_skip_reason() {
	local cg t p
	[ "$(id -u)" = 0 ] || { echo "needs root"; return; }
	for p in mmdebstrap ip unshare nsenter findmnt setsid rsync; do
		command -v $p >/dev/null || { echo "$p is not installed"; return; }
	done
	cg=$(cgroup_own) || { echo "no cgroup v2 is mounted"; return; }
	t=$cg/hftest-probe-$$
	if ! mkdir "$t" 2>/dev/null; then
		echo "no cgroup can be made below $cg"
		return
	fi
	[ -e "$t/cgroup.kill" ] && [ -e "$t/cgroup.freeze" ] ||
		echo "this kernel's cgroups have no cgroup.kill"
	rmdir "$t"
	# an overlay, a bridge and a veth, made in namespaces that vanish
	# shellcheck disable=SC2016
	if ! p=$(unshare -m -u -i -n -p -f --propagation private sh -c '
		t=$(mktemp -d /var/tmp/hftest.XXXXXX) && trap "rm -rf $t" EXIT
		mkdir $t/l $t/u $t/w $t/m &&
		mount -t overlay overlay -o lowerdir=$t/l,upperdir=$t/u,workdir=$t/w $t/m &&
		umount $t/m && ip link add hfb type bridge && ip link add hfv type veth peer name hfw' 2>&1); then
		echo "namespaces, overlayfs or veth do not work here: $(echo "$p" | head -n 1)"
	fi
}

# in_cgroup GROUP COMMAND...: start in the background, in a cgroup of the run
in_cgroup() {
	local cg=$CG/${1:?}
	shift
	mkdir -p "$cg"
	(
		echo "$BASHPID" >"$cg/cgroup.procs"
		exec setsid "$@"
	) </dev/null 9>&- &
	disown
}

cg_kill() {
	local cg=$CG/${1:?} i
	[ -e "$cg/cgroup.kill" ] || return 0
	echo 1 >"$cg/cgroup.kill"
	for ((i = 0; i < 500; i++)); do
		[ -n "$(cat "$cg/cgroup.procs")" ] || return 0
		sleep 0.01
	done
	return 1
}

hub() { nsenter -t "$HUB" -n "$@"; }

cluster_up() {
	W=$1 ROOTFS=$2
	CG=$(cgroup_own)/hftest-$$
	mkdir "$CG" && mkdir -p "$W/bmc" "$W/shared" && touch "$W/binds" || return 1

	# shellcheck disable=SC2016
	in_cgroup hub unshare -n sh -c 'echo $$ >"$1" && exec sleep 100000' hub "$W/hub.pid" \
		>"$W/hub.log" 2>&1
	wait_for 5 test -s "$W/hub.pid" || return 1
	HUB=$(cat "$W/hub.pid")
	hub sh -c 'ip link add br0 type bridge stp_state 0 mcast_snooping 0 && ip link set br0 up' ||
		return 1
	in_cgroup hub bash "$HERE/bmc.sh" "$W/bmc" "$CG" >>"$W/hub.log" 2>&1
}

cluster_down() {
	local g
	[ -n "$CG" ] || return 0
	for g in $NODES hub; do cg_kill "$g"; done
	# a group is busy for a moment after its last process has ended
	for g in $NODES hub ''; do
		[ ! -d "$CG/$g" ] || wait_for 5 rmdir "$CG${g:+/$g}" || echo "# left behind: $CG/$g"
	done
	CG=
}

# wait_for SECONDS COMMAND...: until it succeeds
wait_for() {
	local end=$((SECONDS + $1))
	shift
	until "$@" >/dev/null 2>&1; do
		[ $SECONDS -lt $end ] || return 1
		sleep 0.1
	done
}

# The overlay's upper directory is the node's disk: it survives a power cut.
# The trees lie beside it, because overlayfs is no place to watch.
node_new() {
	local n=${1:?} d=$W/$1 up=$W/$1/up m
	mkdir -p "$d/work" "$d/mnt" "$d/srv" "$up/etc/corosync" "$up/etc/default" "$up/usr/sbin" \
		"$up/usr/lib/ocf/resource.d/hftest" "$up/srv/conf"
	echo "$n" >"$up/etc/hostname"
	{
		echo "127.0.0.1 localhost"
		for m in $NODES; do echo "$(node_ip "$m") $m"; done
	} >"$up/etc/hosts"
	printf '%s\n' PCMK_logfile=/var/log/pacemaker.log PCMK_logpriority=info >"$up/etc/default/pacemaker"
	corosync_conf >"$up/etc/corosync/corosync.conf"
	install -m 755 "$HERE/node-init.sh" "$up/node-init"
	install -m 755 "$HERE/fence_bmc" "$up/usr/sbin/fence_bmc"
	install -m 755 "$HERE/service" "$up/usr/lib/ocf/resource.d/hftest/service"
	seed_cib "$up"
}

corosync_conf() {
	local n
	cat <<-X
	totem {
		version: 2
		cluster_name: hftest
		transport: knet
		crypto_cipher: none
		crypto_hash: none
		token: ${TOKEN:-1000}
	}
	quorum {
		provider: corosync_votequorum
		$([ "$NODES" != "n1 n2" ] || printf '%s\n' "two_node: 1" "wait_for_all: 1")
	}
	system {
		sched_rr: no
		move_to_root_cgroup: no
	}
	logging {
		to_syslog: no
		to_stderr: no
		to_logfile: yes
		logfile: /var/log/corosync.log
		timestamp: hires
	}
	nodelist {
	X
	for n in $NODES; do
		printf '\tnode {\n\t\tname: %s\n\t\tnodeid: %s\n\t\tring0_addr: %s\n\t}\n' \
			"$n" "${n#n}" "$(node_ip "$n")"
	done
	echo "}"
}

nv() { echo "<nvpair id=\"$1-$2\" name=\"$2\" value=\"$3\"/>"; }
# prim ID PROVIDER TYPE [NAME=VALUE...]: a resource of the CIB, watched every 5 s, or EVERY
prim() {
	local id=$1 provider=$2 type=$3 a
	shift 3
	echo "<primitive id=\"$id\" class=\"ocf\" provider=\"$provider\" type=\"$type\">"
	echo "<instance_attributes id=\"$id-a\">"
	for a; do nv "$id" "${a%%=*}" "${a#*=}"; done
	echo "</instance_attributes><operations>"
	echo "<op id=\"$id-start\" name=\"start\" interval=\"0\" timeout=\"60s\"/>"
	echo "<op id=\"$id-stop\" name=\"stop\" interval=\"0\" timeout=\"40s\"/>"
	echo "<op id=\"$id-monitor\" name=\"monitor\" interval=\"${EVERY:-5s}\" timeout=\"30s\"/>"
	echo "</operations></primitive>"
}

# cib_pg IP: PostgreSQL, with its data on a device that moves with it
cib_pg() {
	prim pg-data heartbeat Filesystem device=/dev/data directory=/var/lib/postgresql fstype=ext4
	prim pg-conf holdfast tree resource=pg takeover=fenced
	prim pg-ip heartbeat IPaddr2 ip="$1" cidr_netmask=24
	prim pg-db heartbeat pgsql pgctl=/usr/lib/postgresql/15/bin/pg_ctl psql=/usr/bin/psql \
		pgdata=/var/lib/postgresql/15/main config=/etc/postgresql/15/main/postgresql.conf \
		socketdir=/var/run/postgresql
}

# A group that is stopped until its resource is registered.
cib_resources() {
	cat <<-X
	<resources>
	$(cib_power)
	<group id="app">
	<meta_attributes id="app-m">$(nv app target-role Stopped)</meta_attributes>
	<primitive id="conf" class="ocf" provider="holdfast" type="tree">
	<instance_attributes id="conf-a">$(nv conf resource conf)</instance_attributes>
	<operations>
	<op id="conf-start" name="start" interval="0" timeout="40s"/>
	<op id="conf-stop" name="stop" interval="0" timeout="20s"/>
	<op id="conf-monitor" name="monitor" interval="3s" timeout="20s"/>
	</operations></primitive>
	<primitive id="service" class="ocf" provider="hftest" type="service"/>
	<primitive id="dummy" class="ocf" provider="pacemaker" type="Dummy"><operations>
	<op id="dummy-monitor" name="monitor" interval="5s" timeout="20s"/>
	</operations></primitive>
	</group>
	</resources>
	<constraints>
	<rsc_location id="first" rsc="app" node="n1" score="10"/>
	</constraints>
	X
}

# The fence device. Of two that lost sight of each other one waits for a second.
cib_power() {
	cat <<-X
	<primitive id="power" class="stonith" type="fence_bmc"><instance_attributes id="power-a">
	$(nv power pcmk_host_list "$NODES") $(nv power pcmk_host_check static-list)
	$(nv power pcmk_reboot_action off) $(nv power pcmk_delay_base "n1:0s;n2:1s;n3:2s")
	</instance_attributes></primitive>
	X
}

seed_cib() {
	local dir=$1/var/lib/pacemaker uid gid
	uid=$(awk -F: '$1 == "hacluster" { print $3 }' "$ROOTFS/etc/passwd")
	gid=$(awk -F: '$1 == "haclient" { print $3 }' "$ROOTFS/etc/group")
	mkdir -p "$dir/cib"
	cat >"$dir/cib/cib.xml" <<-X
	<cib crm_feature_set="3.16.0" validate-with="pacemaker-3.9" admin_epoch="1" epoch="1" num_updates="0">
	<configuration>
	<crm_config><cluster_property_set id="opt">
	$(nv opt stonith-enabled true) $(nv opt stonith-timeout 20s) $(nv opt have-watchdog false)
	$(nv opt no-quorum-policy stop) $(nv opt dc-deadtime 2s)
	</cluster_property_set></crm_config>
	<nodes/>
	$(cib_resources)
	<rsc_defaults><meta_attributes id="def">$(nv def resource-stickiness 100)</meta_attributes></rsc_defaults>
	</configuration><status/></cib>
	X
	chown -R "$uid:$gid" "$dir"
	chmod 750 "$dir" "$dir/cib"
	chmod 600 "$dir/cib/cib.xml"
}

# The node's init, as the host numbers it: the only process of the node's
# cgroup that is number 1 inside.
node_pid() {
	local p
	while read -r p; do
		if awk '$1 == "NSpid:" { one = NF > 2 && $NF == 1 } END { exit !one }' \
			"/proc/$p/status" 2>/dev/null; then
			echo "$p"
			return 0
		fi
	done <"$CG/${1:?}/cgroup.procs"
	return 1
}

# Before its init has changed the root, entering a node would enter the host.
node_booted() { [ -e "/proc/$1/root/run/node-booted" ]; }

node_start() {
	local n=${1:?} d=$W/$1 pid
	in_cgroup "$n" unshare -m -u -i -n -p -f --propagation private \
		bash "$HERE/node-enter.sh" "$n" "$d" "$ROOTFS" "$W" >>"$d/console.log" 2>&1
	wait_for 5 node_pid "$n" && pid=$(node_pid "$n") || return 1
	hub sh -c "ip link add v$n type veth peer name eth0 netns $pid &&
		ip link set v$n master br0 up" || return 1
	nsenter -t "$pid" -n sh -c "ip link set lo up && ip addr add $(node_ip "$n")/24 dev eth0 &&
		ip link set eth0 up" || return 1
	wait_for 10 node_booted "$pid"
}

node_kill() { cg_kill "$1"; }

# the node's cable
node_cut() { hub ip link set "v${1:?}" down; }
node_mend() { hub ip link set "v${1:?}" up; }

node_x() {
	local n=${1:?} pid
	shift
	pid=$(node_pid "$n") && node_booted "$pid" || return 125
	# shellcheck disable=SC2016
	timeout -k 1 30 bash -c 'echo $$ >"$1" && shift && exec "$@"' bash "$CG/$n/cgroup.procs" \
		nsenter -t "$pid" -m -u -i -n -p -r -w -- "$@" </dev/null
}
