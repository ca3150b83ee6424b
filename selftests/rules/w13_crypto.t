#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# W13, P11: crypto checkpoints. What is refused and why; real key stores that another node goes on
# using: a SoftHSM token, an OpenSSH host key, a GnuPG home, a TLS key. And nowhere else than in
# their own paths is anything of them in the clear: disk, logs, state, core, memory of a standby.
# The module's netlink messages are searched in a machine: selftests/vm/keys-6.12.t.
# shellcheck disable=SC2034	# what lib.sh reads
. "$(dirname "$0")/../failover/lib.sh"
here=$(cd "$(dirname "$0")" && pwd)
for p in softhsm2-util pkcs11-tool ssh-keygen gpg openssl gcore; do
	command -v "$p" >/dev/null || { echo "1..0 # SKIP $p is not installed; scripts/deps.sh check"; exit 0; }
done
umask 022
cluster a b
R=$tmp/a/root/srv S=$tmp/b/root/srv
up a && up b; ok $? "two nodes"
add() { hf a resource add "$1" >/dev/null; }

# what is refused, with the reason
add c
mkdir -p "$R/keys/sub" "$R/closed/sub"; echo secret >"$R/keys/sub/k"; chmod 644 "$R/keys/sub/k"
run 5 "a key that everybody can read" a checkpoint add c /srv/keys --crypto
says err 'srv/keys/sub/k can be read by everybody (mode 0644)' "names it, and its mode"
says err 'chmod o=' "and what to do"
chmod 602 "$R/keys/sub/k"
run 5 "one that everybody can write" a checkpoint add c /srv/keys --crypto
says err 'can be changed by everybody (mode 0602)' "names it"
chmod 600 "$R/keys/sub/k"; chmod 777 "$R/keys/sub"
run 5 "a directory that everybody can put one into" a checkpoint add c /srv/keys --crypto
says err 'srv/keys/sub can be changed by everybody (mode 0777)' "names it"
run 5 "a path that is not there" a checkpoint add c /srv/nokeys --crypto
says err 'is not there; a crypto checkpoint is added where its key lies' "says what to do"
run 5 "not even with --allow-empty" a checkpoint add c /srv/nokeys --crypto --allow-empty
echo s >"$R/one"; chmod 644 "$R/one"
run 5 "one file that everybody can read" a checkpoint add c /srv/one --crypto
says err 'srv/one can be read by everybody (mode 0644)' "names it"
mkfifo "$R/fifo"
run 5 "what is no file" a checkpoint add c /srv/fifo --crypto
run 0 "nothing of that" a --json checkpoint list c
says out '"checkpoints":\[\]' "was registered"
echo x >"$R/closed/sub/public"; chmod 644 "$R/closed/sub/public"; chmod 700 "$R/closed"
run 0 "what lies in a directory that is closed to others is closed to them" a checkpoint add c /srv/closed --crypto
chmod 640 "$R/one"
run 0 "a group may read, as ssl-cert does" a checkpoint add c /srv/one --crypto
run 0 "the list" a --json checkpoint list c --kind crypto
says out '"kind":"crypto"' "tells its kind"
# its owner looks, whoever asks
hf a online c >/dev/null; mkdir -p "$R/late" "$S/late"; echo k >"$R/late/k"; echo k >"$S/late/k"; chmod 600 "$S/late/k"; chmod 604 "$R/late/k"
run 5 "asked for on another node: the owner's own is looked at" b checkpoint add c /srv/late --crypto
says err 'srv/late/k can be read by everybody (mode 0604)' "and the reason comes back"
run 0 "nothing" b --json checkpoint list c
! grep -q late "$tmp/out"; ok $? "stays registered"
chmod 600 "$R/late/k"; rm -r "$S/late"
run 0 "when it is a secret the other node may ask" b --json checkpoint add c /srv/late --crypto
says out '"generation":' "and it is captured"
hf a offline c >/dev/null

# real stores
keys=$R/keystores
mkdir -p "$keys/hsm" "$keys/ssh" "$keys/gpg" "$keys/tls"; chmod 700 "$keys"/*
pin=4711-$RANDOM$RANDOM so=0815-$RANDOM$RANDOM
hsm() { # hsm NODE: its configuration
	printf 'directories.tokendir = %s\nobjectstore.backend = file\nlog.level = ERROR\nobjectstore.umask = 0077\n' \
		"$tmp/$1/root/srv/keystores/hsm" >"$tmp/$1/softhsm2.conf"
	export SOFTHSM2_CONF=$tmp/$1/softhsm2.conf
}
module=$(find /usr/lib -name libsofthsm2.so 2>/dev/null | head -1)
p11() { timeout 60 pkcs11-tool --module "$module" --token-label hf --login --pin "$pin" "$@" 2>>"$tmp/p11.err"; }
hsm a
softhsm2-util --init-token --free --label hf --pin "$pin" --so-pin "$so" >/dev/null 2>&1
p11 --keypairgen --key-type EC:prime256v1 --id 01 --label service >/dev/null; ok $? "a key in a SoftHSM token"
head -c 64 /dev/urandom >"$tmp/data"
p11 --read-object --type pubkey --id 01 --output-file "$tmp/hsm.pub" >/dev/null; ok $? "its public half"
ssh-keygen -q -t ed25519 -N '' -C host -f "$keys/ssh/ssh_host_ed25519_key"; ok $? "an OpenSSH host key"
gpg_() { # gpg_ NODE ARG...
	local home=$tmp/$1/root/srv/keystores/gpg
	shift
	# no agent stays behind: what it keeps is not what the home has
	timeout 60 gpg --homedir "$home" --batch --quiet --no-tty --pinentry-mode loopback --passphrase '' "$@" 2>>"$tmp/gpg.err"
	local rc=$?
	GNUPGHOME=$home gpgconf --kill all 2>/dev/null
	return $rc
}
gpg_ a --quick-generate-key 'Service <s@example.org>' ed25519 sign never; ok $? "a GnuPG home"
openssl req -x509 -newkey rsa:2048 -nodes -keyout "$keys/tls/key.pem" -out "$keys/tls/cert.pem" -subj /CN=hf -days 30 2>/dev/null
chmod 600 "$keys/tls/key.pem"; ok $? "a TLS key"
# the raw key as well, which PEM is not
openssl pkey -in "$keys/tls/key.pem" -outform DER -out "$keys/tls/key.der" 2>/dev/null; chmod 600 "$keys/tls/key.der"
mkdir "$tmp/secrets"
gather() { # what must be nowhere: private parts as files, and names of keys' files do not count
	cp "$1/tls/key.pem" "$1/tls/key.der" "$1/ssh/ssh_host_ed25519_key" "$tmp/secrets/"
	cp -r "$1/gpg/private-keys-v1.d" "$1/hsm" "$tmp/secrets/"
}
add k
run 0 "the TLS keys" a checkpoint add k /srv/keystores/tls --crypto
run 0 "the host key, one file" a checkpoint add k /srv/keystores/ssh/ssh_host_ed25519_key --crypto
run 0 "the GnuPG home" a checkpoint add k /srv/keystores/gpg --crypto --exclude 'S.*' --exclude '*.lock'
run 0 "the token" a checkpoint add k /srv/keystores/hsm --crypto
run 0 "online" a online k
gather "$keys"
# keys that come while it is online
openssl genrsa -traditional -out "$keys/tls/second.pem" 2048 2>/dev/null; chmod 600 "$keys/tls/second.pem"
head -c 3000000 /dev/urandom >"$keys/tls/large"; chmod 600 "$keys/tls/large"
p11 --keypairgen --key-type EC:prime256v1 --id 02 --label later >/dev/null; ok $? "another key in the token"
run 0 "sync" a sync k
cp "$keys/tls/second.pem" "$keys/tls/large" "$tmp/secrets/"; cp -r "$keys/hsm" "$tmp/secrets/hsm2"

# a standby has read it, and a session watches
until_true 20 eval 'hf b --json status k | grep -q "\"state\":\"warm\""'; ok $? "the other node is warm"
timeout 60 "$B/holdfast" -c "$tmp/a/conf" --json watch k >"$tmp/a/watched" 2>&1 & extra_pids="$extra_pids $!"
sleep 0.5; echo changed >"$keys/tls/note"; cp "$keys/tls/key.pem" "$keys/tls/renewed.pem"; chmod 600 "$keys/tls/renewed.pem" "$keys/tls/note"
run 0 "sync" a sync k
until_true 5 grep -q '"commit"' "$tmp/a/watched"
why=$(cat "$tmp/a/watched")
grep -q '"change"' "$tmp/a/watched" && ! grep -qE 'renewed|\/note' "$tmp/a/watched"
ok $? "changes are told, not even the names"
run 0 "diff" a diff k 1 --text
! grep -qE 'renewed|PRIVATE|second' "$tmp/out"; ok $? "tells neither names nor text"
mkdir "$tmp/a/extracted"
run 0 "restore to a directory" a restore k --to "$tmp/a/extracted"
[ -z "$(find "$tmp/a/extracted" -type f)" ]; ok $? "leaves them out"
cp "$tmp/out" "$tmp/a/restore.out"
run 0 "history" a --json history k
cp "$tmp/out" "$tmp/a/history.out"

look() { # look [-m] WHERE...
	local m=
	[ "$1" = -m ] && { m=-m; shift; }
	"$PY" "$here/search.py" $m "$tmp/secrets" "$@" >"$tmp/found"
}
nowhere() { # nowhere NAME WHERE...
	local name=$1
	shift
	look "$@"; local rc=$?
	why=$(head -8 "$tmp/found")
	ok $rc "P11: not in $name ($(tail -1 "$tmp/found"))"
}
look "$keys"; [ $? = 1 ]; ok $? "the search finds them where they are"
nowhere "the disk" "$tmp/disk"
nowhere "the daemons' logs, events and answers" "$tmp/a/log" "$tmp/b/log" "$tmp/a/watched" "$tmp/a/restore.out" "$tmp/a/history.out"
nowhere "their state" "$tmp/a/state" "$tmp/b/state" "$tmp/a/run" "$tmp/b/run"

# the other node goes on with them; what it had there is kept aside, encrypted
mkdir -p "$S/keystores/tls"; chmod 700 "$S/keystores/tls"
openssl genrsa -traditional -out "$S/keystores/tls/key.pem" 2048 2>/dev/null; chmod 600 "$S/keystores/tls/key.pem"
cp "$S/keystores/tls/key.pem" "$tmp/secrets/old.pem"
# as a debugger gets it; when nothing is under way
memory() { # memory NODE NAME
	local i rc=1
	for i in 1 2 3 4 5 6; do
		rm -f "$tmp"/core.*
		timeout 120 gcore -o "$tmp/core" "${pid[$1]}" >/dev/null 2>&1 || break
		look -m "$tmp"/core.* && rc=0 && break
		sleep 2
	done
	rm -f "$tmp"/core.*
	why=$(head -4 "$tmp/found")
	ok $rc "P11: not in $2 ($(tail -1 "$tmp/found"))"
}
memory a "the memory of the daemon that captured them"
crash a
run 0 "P5: the other node takes over" b online k --fenced
same a b srv/keystores/tls && same a b srv/keystores/hsm; ok $? "W6: with all of it"
hsm b
p11 --sign --mechanism ECDSA --id 01 --input-file <(head -c 32 "$tmp/data") --output-file "$tmp/sig" >/dev/null; ok $? "pkcs11-tool signs with the token"
p11 --list-objects --type privkey >"$tmp/out"; says out later "the later key too"
p11 --read-object --type pubkey --id 01 --output-file "$tmp/hsm2.pub" >/dev/null; cmp -s "$tmp/hsm.pub" "$tmp/hsm2.pub"; ok $? "it is the same key"
ssh-keygen -y -f "$S/keystores/ssh/ssh_host_ed25519_key" >"$tmp/out" 2>"$tmp/err"
is "$(cut -d' ' -f1,2 "$tmp/out")" "$(cut -d' ' -f1,2 "$keys/ssh/ssh_host_ed25519_key.pub")" "ssh-keygen reads the host key"
ssh-keygen -Y sign -n file -f "$S/keystores/ssh/ssh_host_ed25519_key" <"$tmp/data" >"$tmp/ssh.sig" 2>"$tmp/err"; ok $? "and signs with it"
gpg_ b --armor --detach-sign --output "$tmp/gpg.sig" "$tmp/data"; ok $? "gpg signs"
gpg_ b --verify "$tmp/gpg.sig" "$tmp/data"; ok $? "and knows its own signature"
openssl dgst -sha256 -sign "$S/keystores/tls/key.pem" -out "$tmp/tls.sig" "$tmp/data" 2>"$tmp/err" &&
	openssl x509 -in "$S/keystores/tls/cert.pem" -pubkey -noout >"$tmp/pub.pem" &&
	openssl dgst -sha256 -verify "$tmp/pub.pem" -signature "$tmp/tls.sig" "$tmp/data" >"$tmp/out"; ok $? "openssl uses the TLS key, and the certificate is its"
is "$(stat -c %a "$S/keystores/tls/key.pem" "$S/keystores/gpg" | tr '\n' ' ')" "600 700 " "P6: modes as they were"

hf b --json displaced list k >"$tmp/out"
id=$("$PY" -c "import json,sys; print([s['id'] for s in json.load(open('$tmp/out'))['sets']][0])" 2>"$tmp/err"); [ -n "$id" ]; ok $? "P7: what lay there is kept aside"
! grep -q key.pem "$tmp/out"; ok $? "without its names"
nowhere "what was kept aside" "$tmp/b/state"
run 5 "it is brought nowhere else" b displaced restore k "$id" --to "$tmp/out-of-it"
[ ! -e "$tmp/out-of-it" ]; ok $? "nothing of it"
hf b sync k >/dev/null
nowhere "the disk, after the takeover" "$tmp/disk"
nowhere "logs" "$tmp/a/log" "$tmp/b/log"

# memory: what a debugger gets, and what the daemon leaves when it dies
up a; until_true 20 eval 'hf a --json status k | grep -q "\"state\":\"warm\""'; ok $? "the first node stands by, warm"
memory b "the memory of the one that restored them"
memory a "a standby's memory, its warm cache"
for c in a b; do
	grep -qE '^VmLck:[[:space:]]+[1-9]' "/proc/${pid[$c]}/status" || grep -q 'could be swapped' "$tmp/$c/log"
	ok $? "$c: none of it can be swapped, or the log warns"
done
mkdir "$tmp/dumps"
why=$(cd "$tmp/dumps" && timeout 60 "$PY" - "$B/holdfastd" "$tmp/a/conf" "${pid[a]}" <<'P' 2>&1
import os, resource, signal, subprocess, sys, time
os.kill(int(sys.argv[3]), signal.SIGKILL)
time.sleep(0.3)
resource.setrlimit(resource.RLIMIT_CORE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
p = subprocess.Popen([sys.argv[1], '-c', sys.argv[2]], stderr=subprocess.DEVNULL)
time.sleep(3)
os.kill(p.pid, signal.SIGSEGV)
status = os.waitpid(p.pid, 0)[1]
print(os.WTERMSIG(status), os.WCOREDUMP(status))
P
)
is "$why" "11 False" "a daemon that crashes leaves no core"
[ -z "$(ls "$tmp/dumps")" ]; ok $? "no file of it"
wait "${pid[a]}" 2>/dev/null
plan
