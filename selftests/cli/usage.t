#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Bad arguments of every verb: exit 2, one line on stderr, nothing on stdout,
# nothing asked of anybody, nothing changed. No daemon runs here.
# shellcheck source=selftests/cli/lib.sh
. "$(dirname "$0")/lib.sh"

mkdir "$tmp/place"
printf '[node]\nname = alpha\nstate_dir = %s/place/s\nruntime_dir = %s/place/r\nkey_file = %s/place/key\n' \
	"$tmp" "$tmp" "$tmp" >"$tmp/c.conf"
export HOLDFAST_CONF=$tmp/c.conf
disk=$tmp/place/disk
before=$(find "$tmp/place" | sort)

long=$(printf 'x%.0s' {1..5000})
name64=$(printf 'n%.0s' {1..64})
latin=$'caf\xe9'
overlong=$'\xc0\xaf'		# "/" in an overlong form
surrogate=$'\xed\xa0\x80'
esc=$'\x1b[31mred'
newline=$'a\nb'

# bad NAME ARG...: must be refused in one line, without a look at anything
bad() {
	what=$1
	shift
	hf "$@"
	lines=$(wc -l <"$tmp/err")
	why="exit $code, $lines lines on stderr, $(wc -c <"$tmp/out") bytes on stdout"
	[ "$code" -eq 2 ] && [ "$lines" -eq 1 ] && [ ! -s "$tmp/out" ] &&
		[ "$(wc -c <"$tmp/err")" -lt 1200 ] && ! LC_ALL=C grep -q $'[^\t -~]' "$tmp/err"
	ok $? "$what"
}

# sweep VERB -- GOOD ARGUMENTS: each of them bad in turn, one too few, one too many
sweep() {
	verb=()
	while [ "$1" != -- ]; do
		verb+=("$1")
		shift
	done
	shift
	good=("$@")
	case "${verb[*]}" in
	keygen|doctor|report|metrics|"node list"|cluster-state|"resource list"|"disk info"|"disk check"|"disk accept"|"checkpoint list"|status|watch|"displaced list"| \
		module\ *|"tree list"|"tree dirty"|"tree events")
		;;		# all that they take is optional
	*)
		bad "${verb[*]}: none of its arguments" "${verb[@]}" ;;
	esac
	bad "${verb[*]}: unknown option" "${verb[@]}" "${good[@]}" --no-such-option
	bad "${verb[*]}: unknown short option" "${verb[@]}" "${good[@]}" -Z
	bad "${verb[*]}: -c without a value" "${verb[@]}" "${good[@]}" -c
	bad "${verb[*]}: -c empty" -c "" "${verb[@]}" "${good[@]}"
	bad "${verb[*]}: non-UTF-8 option" "${verb[@]}" "${good[@]}" "--$latin"
	for i in "${!good[@]}"; do
		for v in "" "$long" "$latin" "$overlong" "$surrogate" "$esc" "$newline"; do
			args=("${good[@]}")
			args[i]=$v
			bad "${verb[*]}: argument $((i + 1)) = '$(printf %s "${v:0:8}" | LC_ALL=C tr -c ' -~' '?')'" \
				"${verb[@]}" "${args[@]}"
		done
	done
}
surplus() {
	bad "$1: one argument too many" "${@:2}"
}

sweep init -- "$disk" --name web
sweep join -- "$disk"
sweep keygen --
sweep disk format -- "$disk" --name web
sweep disk info -- "$disk"
sweep disk check -- "$disk"
sweep disk grow -- "$disk"
sweep disk accept -- --yes
sweep node list --
sweep node replace -- old "$disk"
sweep node remove -- old
sweep cluster-state --
sweep module status --
sweep module load --
sweep module unload --
sweep module reload --
sweep tree list -- pg
sweep tree dirty -- pg
sweep tree events -- pg --count 1 --timeout 5s
sweep tree delete -- 1
sweep resource add -- pg --type db
sweep resource delete -- pg
sweep resource list -- --type db
sweep resource show -- pg
sweep resource set -- pg settle=5ms
sweep resource reset -- pg
sweep resource rebuild -- pg
sweep checkpoint add -- pg /etc/pg --view 32bit --exclude x --include y
sweep checkpoint set -- pg /etc/pg --exclude x --include y
sweep checkpoint delete -- pg /etc/pg
sweep checkpoint list -- pg --type db --kind tree
sweep online -- pg --timeout 5s
sweep offline -- pg --timeout 5s
sweep move -- pg b --timeout 5s
sweep sync -- pg
sweep status -- pg
sweep watch -- pg
sweep doctor -- pg
sweep report -- pg --since 1h
sweep metrics --
sweep history -- pg
sweep history pin -- pg 7 --name golden
sweep history unpin -- pg --name golden
sweep diff -- pg 1 2
sweep verify -- pg
sweep rollback -- pg --to 3
sweep restore -- pg --generation 3 --to /srv/x
sweep displaced list -- pg
sweep displaced show -- pg 20260102T030405.678Z-0123abcd
sweep displaced restore -- pg 20260102T030405.678Z-0123abcd f --to /tmp/x

surplus init init "$disk" x --name web
surplus join join "$disk" x
surplus keygen keygen x
surplus "disk format" disk format "$disk" x --name web
surplus "disk info" disk info "$disk" x
surplus "disk check" disk check "$disk" x
surplus "disk grow" disk grow "$disk" x
surplus "disk accept" disk accept x
surplus "node list" node list x
surplus "node replace" node replace x "$disk" y
surplus "node remove" node remove x y
surplus cluster-state cluster-state x
surplus "module status" module status x
surplus "module load" module load x
surplus "module unload" module unload x
surplus "module reload" module reload x
surplus "tree list" tree list pg x
surplus "tree dirty" tree dirty pg x
surplus "tree events" tree events pg x
surplus "tree delete" tree delete 1 x
surplus "resource add" resource add pg x
surplus "resource delete" resource delete pg x
surplus "resource list" resource list x
surplus "resource show" resource show pg x
surplus "resource reset" resource reset pg x
surplus "resource rebuild" resource rebuild pg x
surplus "checkpoint add" checkpoint add pg /x /y
surplus "checkpoint delete" checkpoint delete pg /x /y
surplus "checkpoint list" checkpoint list pg /x /y
surplus online online pg x
surplus offline offline pg x
surplus move move pg b x
surplus sync sync pg x
surplus status status pg x
surplus watch watch pg x
surplus doctor doctor pg x
surplus report report pg x
surplus metrics metrics x
surplus history history pg x
surplus "history pin" history pin pg 7 x --name golden
surplus "history unpin" history unpin pg x --name golden
surplus diff diff pg 1 2 3
surplus "displaced list" displaced list pg x
surplus "displaced show" displaced show pg 20260102T030405.678Z-0123abcd x
surplus "displaced restore" displaced restore pg 20260102T030405.678Z-0123abcd f x
surplus version version x
surplus help help online x

# values that are text, but not what is meant
# shellcheck disable=SC2016
for v in . .. .hidden -dash a/b "a b" "$name64" 'a;b' 'a$b' '*' a@.. é; do
	bad "a resource called '$(printf %s "${v:0:12}" | LC_ALL=C tr -c ' -~' '?')'" resource add -- "$v"
done
# shellcheck disable=SC2088
for v in etc/pg ./x '~/x'; do
	bad "a checkpoint at '$v'" checkpoint add pg "$v"
done
for v in 0 65 -1 8x 1.5 99999999999999999999; do
	bad "--nodes $v" init "$disk" --name web --nodes="$v"
done
for v in 5 5x 0s 1ms 11m -5s 99999999999999999999s; do
	bad "--lease $v" init "$disk" --name web --lease="$v"
done
for v in 0 1G x -1 99999999999TiB; do
	bad "--size $v" init "$disk" --name web --size="$v"
done
for v in 0 -1 x 1.5 99999999999999999999; do
	bad "generation $v" diff pg -- "$v"
done
for v in 5 5x 0s ""; do
	bad "--timeout '$v'" online pg --timeout "$v"
done
for v in settle =5ms = ""; do
	bad "policy '$v'" resource set pg "$v"
done
for v in 0 -1 x 1.5 4294967296; do
	bad "tree $v" tree delete -- "$v"
	bad "--count $v" tree events --count="$v"
done
bad "a policy given twice" resource set pg settle=1ms settle=2ms
bad "--kind registry" checkpoint list --kind registry
bad "an option given twice" resource add pg --type a --type b
bad "a flag with a value" online pg --fenced=yes
bad "several resources without --group" sync pg cups
bad "a resource twice" sync --group pg pg
bad "a pattern that is not UTF-8" checkpoint list "/etc/$latin"
bad "run: no resource" run
bad "run: no command" run pg
bad "run: a bad name" run .pg -- true
bad "run: an option of the command before --" run pg ls -Z
bad "no name" init "$disk"
mapfile -t many < <(seq 1 5000)
bad "5000 arguments" sync --group "${many[@]/#/r}"

# verbs
for v in "" "$long" "$latin" "$esc" "$newline" - -- --no-such-option -Z; do
	bad "verb '$(printf %s "${v:0:8}" | LC_ALL=C tr -c ' -~' '?')'" "$v"
done
bad "no verb"
# in the design, but not there yet: unknown
for v in "disk upgrade x" \
	"backup list x" "job list" "key rotate"; do
	# shellcheck disable=SC2086
	bad "not in this version: $v" $v
done
suggests() {
	want=$1
	shift
	hf "$@"
	why="exit $code"
	[ "$code" -eq 2 ] && grep -q -e "did you mean '\?$want" "$tmp/err"
	ok $? "$* suggests $want"
}
suggests online onlnie pg
suggests offline ofline pg
suggests "resource add" resorce add pg
suggests "resource add" resource ad pg
suggests "checkpoint list" checkpoint lst
suggests cluster-state clusterstate
suggests --fenced online pg --fencd
hf resource
says err "add, delete, list, show, set, reset, rebuild" "a group without its verb lists its verbs"

is "$(find "$tmp/place" | sort)" "$before" "nothing was made by any of this"
plan
