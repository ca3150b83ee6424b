#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# W15: control codes never call back into an agent, so an agent may use them freely: it adds checkpoints inside its
# own start and stop, and a hook does so while it is told of the very resource. Nothing waits for itself.
# shellcheck source=selftests/failover/lib.sh
. "$(dirname "$0")/../failover/lib.sh"
cluster a b
A=$tmp/a/root/srv
mkdir -p "$A/x" "$A/made" "$A/hooked"; echo x >"$A/x/f"; echo m >"$A/made/f"; echo h >"$A/hooked/f"
up a && up b; ok $? "two nodes"
hf a resource add r >/dev/null && hf a checkpoint add r /srv/x >/dev/null; ok $? "a resource"
cat >"$tmp/agent" <<X
#!/bin/sh
set -e
hf="$B/holdfast -c $tmp/a/conf"
case \$1 in
start)
	\$hf online r
	\$hf checkpoint add r /srv/made
	echo more >"$A/made/more"
	\$hf sync r
	\$hf status r ;;
stop)
	\$hf checkpoint delete r /srv/made --yes
	\$hf offline r ;;
esac
X
printf '#!/bin/sh\n[ "$1" = online ] || exit 0\nexec "%s/holdfast" -c "%s/a/conf" checkpoint add r /srv/hooked\n' "$B" "$tmp" >"$tmp/a/hooks/add"
chmod 755 "$tmp/agent" "$tmp/a/hooks/add"
timeout 60 "$tmp/agent" start >"$tmp/out" 2>"$tmp/err" </dev/null; ok $? "W15: an agent adds, inside its start, what it has just made"
says out 'generation' "it is captured when the command returns"
until_true 20 eval 'hf a --json checkpoint list r | grep -q hooked'; ok $? "W15: and so does a hook, while its event is told"
run 0 "sync" a sync r
timeout 60 "$tmp/agent" stop >"$tmp/out" 2>"$tmp/err" </dev/null; ok $? "W15: it deletes one inside its stop"
run 0 "the other node" b online r
[ -s "$tmp/b/root/srv/hooked/f" ] && [ ! -e "$tmp/b/root/srv/made" ]; ok $? "has what is registered, and no more"
plan
