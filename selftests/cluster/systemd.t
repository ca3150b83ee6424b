#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The units: systemd finds nothing wrong with them, what holdfast@.service starts and stops does what it says,
# the daemon tells when it is ready, and does nothing that its sandbox forbids.

set -u
export LC_ALL=C
cd "$(dirname "$0")/../.." || exit 1
KEEP=${KEEP-}
for p in systemd-analyze strace; do
	command -v $p >/dev/null || { echo "1..0 # SKIP $p is not installed (scripts/deps.sh cluster)"; exit 0; }
done
# shellcheck source=selftests/failover/lib.sh
. selftests/failover/lib.sh

u=$tmp/units
mkdir "$u"
for f in holdfastd.service holdfast@.service; do sed "s|@SBINDIR@|$B|g" "scripts/hooks/systemd/$f" >"$u/$f"; done
printf '%s\n' '[Unit]' 'Description=Holdfast test' 'Requires=holdfast@pg.service' 'After=holdfast@pg.service' \
	'[Service]' 'ExecStart=/bin/true' >"$u/hf-test-db.service"
# verify UNIT...: what systemd has to say of them
verify() {
	local f=()
	for x in "$@"; do f+=("$u/$x"); done
	SYSTEMD_LOG_LEVEL=warning timeout 60 systemd-analyze verify --man=no --recursive-errors=yes "${f[@]}" 2>&1 |
		grep -E "$u|holdfast|hf-test"
}
cp "$u/holdfast@.service" "$u/holdfast@pg.service"
why=$(verify holdfastd.service holdfast@pg.service hf-test-db.service)
[ -z "$why" ]
ok $? "systemd finds nothing wrong with the units"
cp "$u/holdfastd.service" "$u/holdfast-bad.service"
echo 'RestrictNamespces=yes' >>"$u/holdfast-bad.service"
sed -i 's/^\[Install\]/RestrictAddresFamilies=AF_UNIX\n&/' "$u/holdfast-bad.service"
verify holdfast-bad.service | grep -q RestrictAddresFamilies
ok $? "  and would"

# directive UNIT KEY: its value
directive() { sed -n "s/^$2=//p" "$u/$1"; }
is "$(directive holdfastd.service Type)" notify "the daemon's unit waits until it says that it is ready"
why=$(grep -E '^(Private|ProtectSystem|ProtectHome|ProtectProc|ProtectKernel(Tunables|Modules|Logs)|ProtectControlGroups|ProtectHostname|ReadOnly|ReadWrite|Inaccessible|Bind|TemporaryFileSystem|RootDirectory|MountFlags|Dynamic)' "$u/holdfastd.service")
[ -z "$why" ]
ok $? "  and gives it no mount namespace of its own"

# --- readiness, with a socket in systemd's place
cluster a b
$PY - "$tmp/notify" "$tmp/told" <<'X' &
import socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind(sys.argv[1])
while True:
    with open(sys.argv[2], "a") as f:
        f.write(s.recv(4096).decode() + "\n")
X
extra_pids=$!
until_true 10 test -S "$tmp/notify"

# --- what the daemon does, under strace: the system calls that its unit denies, and its sockets
denied=
for g in $(directive holdfastd.service SystemCallFilter | sed 's/^~//'); do
	for c in $(systemd-analyze syscall-filter "$g" | sed -n 's/^    \([a-z0-9_]*\)$/\1/p'); do denied+=",?$c"; done
done
[ "$(tr , '\n' <<<"$denied" | grep -c .)" -gt 40 ]
ok $? "the unit denies system calls"
printf '%s\n' '#!/bin/sh' "echo \"\$*\" >>'$tmp/hooked'" >"$tmp/a/hooks/tell"
chmod 755 "$tmp/a/hooks/tell"
cat >"$tmp/holdfastd" <<X
#!/bin/sh
exec strace -f -qq -o '$tmp/calls' -e trace=socket$denied -e signal=none '$B/holdfastd' "\$@"
X
chmod 755 "$tmp/holdfastd"
mkdir -p "$tmp/a/root/srv/app"
echo one >"$tmp/a/root/srv/app/main"
NOTIFY_SOCKET=$tmp/notify "$tmp/holdfastd" -c "$tmp/a/conf" 2>>"$tmp/a/log" &
pid[a]=$!
until_true 30 grep -q READY=1 "$tmp/told"
ok $? "it says that it is ready"
run 0 "  and is" a status
up b
hf a resource add pg >/dev/null && hf a checkpoint add pg /srv/app >/dev/null
ok $? "a resource"

# exec_of KEY NODE: what systemd would run for holdfast@pg.service there
exec_of() {
	local line
	line=$(directive holdfast@.service "$1")
	# shellcheck disable=SC2086
	HOLDFAST_CONF=$tmp/$2/conf timeout 60 ${line//%i/pg} >"$tmp/out" 2>"$tmp/err"
}
exec_of ExecStart a
is $? 0 "starting holdfast@pg on a"
field_is a pg state online
ok $? "  brings it online"
exec_of ExecStart b
is $? 5 "P4: starting it on b as well is refused, so what requires it does not start"
echo two >"$tmp/a/root/srv/app/main"
run 0 "P1: sync" a sync pg
echo last >"$tmp/a/root/srv/app/late"
exec_of ExecStop a
is $? 0 "stopping it"
exec_of ExecStart b
is $? 0 "then it starts on b"
same a b srv/app
ok $? "P1, P5: with all that was there"
exec_of ExecStop b
exec_of ExecStart a
is $? 0 "and on a again"
until_true 10 grep -q '^offline pg' "$tmp/hooked"
ok $? "a hook ran"
# the program, not strace
kill -TERM "$(pgrep -P "${pid[a]}")"
wait "${pid[a]}"
ok $? "the daemon ends in order"
grep -q STOPPING=1 "$tmp/told"
ok $? "  and says so"
families=$(directive holdfastd.service RestrictAddressFamilies)
# 0x1c3 is cachestat, which the unit does not deny and strace 6.1 does not know
why=$(grep -vE ' (socket|syscall_0x1c3)\(' "$tmp/calls" | grep '(')
[ -z "$why" ]
ok $? "it did nothing that the unit denies"
grep -q 'socket(AF_' "$tmp/calls"
ok $? "  (it was watched)"
why=$(sed -n 's/.* socket(\(AF_[A-Z0-9]*\).*/\1/p' "$tmp/calls" | sort -u | grep -vwF "$(tr ' ' '\n' <<<"$families")")
[ -z "$why" ]
ok $? "  and opened no socket that it forbids"
plan
