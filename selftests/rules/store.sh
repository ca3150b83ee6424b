# SPDX-License-Identifier: GPL-2.0-or-later
# A quorum disk that can be made to hang, and a program in journald's place; sourced by tests that are
# in a mount namespace of their own, after failover/lib.sh.
# shellcheck shell=bash disable=SC2034,SC2154

# the disk is a file of a file system that can be frozen: whoever writes to it then waits
store_mounted() {
	mkdir "$tmp/store" && truncate -s 120M "$tmp/store.img" && mkfs.ext4 -q -F "$tmp/store.img" &&
		mount -o loop "$tmp/store.img" "$tmp/store" || return 1
	extra_mounts="$extra_mounts $tmp/store"
	STORE=$tmp/store/disk
}
freeze() { fsfreeze -f "$tmp/store"; }
thaw() { fsfreeze -u "$tmp/store"; }
# a daemon that waits for a frozen file system cannot be killed
thaw_and_cleanup() {
	thaw 2>/dev/null
	cleanup
}
trap thaw_and_cleanup EXIT

# what the daemons say goes to $tmp/journal, a line of JSON for each message
journal_stands_in() {
	mkdir -p /run/systemd && mount -t tmpfs none /run/systemd && mkdir /run/systemd/journal && touch "$tmp/journal" || return 1
	"$PY" "$top/selftests/rules/journald.py" /run/systemd/journal/socket "$tmp/journal" &
	extra_pids="$extra_pids $!"
	until_true 10 test -S /run/systemd/journal/socket
}
# up_journal NODE [ENV=VALUE...]: its daemon, as systemd starts it
up_journal() {
	local c=$1
	shift
	: >>"$tmp/$c/log"
	env "$@" JOURNAL_STREAM="$(stat -c %d:%i "$tmp/$c/log")" "$B/holdfastd" -c "$tmp/$c/conf" 2>>"$tmp/$c/log" &
	pid[$c]=$!
	until_true 10 hf "$c" node list
}
# told ID [NODE]: how many messages with the catalogue's id have come
told() {
	local id
	id=$(sed -n "s/.*X(N_$1, \"\([0-9a-f]*\)\").*/\1/p" "$top/user/daemon/notice.h")
	"$PY" - "$tmp/journal" "$id" "${2-}" <<-'EOT'
		import json, sys
		all = [json.loads(line) for line in open(sys.argv[1]) if line.endswith('\n')]
		print(sum(m.get('MESSAGE_ID') == sys.argv[2] and sys.argv[3] in ('', m.get('HOLDFAST_NODE')) for m in all))
	EOT
}
