#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# W9: restored before it is online: the hook of `online`, and whatever starts when online has returned, read
# what was restored (P5).
# shellcheck source=selftests/failover/lib.sh
. "$(dirname "$0")/../failover/lib.sh"
cluster a b
A=$tmp/a/root/srv B_=$tmp/b/root/srv
mkdir -p "$A/x" "$B_/x"; echo restored >"$A/x/f"; echo old >"$B_/x/f"
printf '#!/bin/sh\n[ "$1" = online ] || exit 0\ncat "%s/x/f" >"%s/hook.saw"\n' "$B_" "$tmp" >"$tmp/b/hooks/start"; chmod 755 "$tmp/b/hooks/start"
up a && up b; ok $? "two nodes"
hf a resource add r >/dev/null && hf a checkpoint add r /srv/x >/dev/null && hf a online r >/dev/null && hf a offline r >/dev/null; ok $? "a generation"
cat >"$tmp/service" <<X
#!/bin/sh
"$B/holdfast" -c "$tmp/b/conf" online r >/dev/null || exit
cat "$B_/x/f"
X
chmod +x "$tmp/service"
is "$(timeout 60 "$tmp/service" </dev/null)" restored "W9: what starts when online has returned reads what was restored"
until_true 10 test -s "$tmp/hook.saw"; is "$(cat "$tmp/hook.saw")" restored "W9: so does a hook that starts it"
# a restore that takes long: not online before it is done
hf b offline r >/dev/null; for i in $(seq 20); do echo "$i" >"$B_/x/n$i"; done; hf b online r --keep-local >/dev/null; hf b offline r >/dev/null
down a; up a HOLDFAST_SEAM=restore.rename:5:sleep=1500
hf a online r >"$tmp/out" 2>"$tmp/err" & p=$!
until_true 10 field_is a r state online-pending; ok $? "a restore that takes long"
bad=0
while kill -0 $p 2>/dev/null; do
	[ "$(field a r state)" != online ] || [ "$(find "$A/x" -name 'n*' | wc -l)" = 20 ] || bad=1
done
wait $p; ok $? "online"
ok $bad "P5: it was never online with less than all of it"
plan
