#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Reads `holdfast metrics` from standard input, as OpenMetrics and as Prometheus' text format,
and looks at what promtool's lint looks at. Prints what is wrong. With NAME LABEL=VALUE...:
prints that sample's value."""
import re
import sys

from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as prometheus

UNITS = ('milliseconds', 'ms', 'minutes', 'hours', 'kilobytes', 'megabytes', 'percent')


def lint(family):
    bad = []
    if not re.fullmatch(r'holdfast_[a-z][a-z0-9_]*', family.name):
        bad.append('is no name in snake case')
    if not family.documentation:
        bad.append('has no help text')
    if re.search(r'_(total|count|sum|bucket|%s)$' % '|'.join(UNITS), family.name):
        bad.append('has a suffix that belongs to another type, or is no base unit')
    if family.type not in ('gauge', 'summary', 'histogram'):
        bad.append(f'is a {family.type}')
    if any(t in family.name.split('_') for t in ('gauge', 'counter', 'summary', 'histogram')):
        bad.append('names its type')
    return [f'{family.name} {b}' for b in bad]


def flat(families):
    return {(s.name, tuple(sorted(s.labels.items()))): float(s.value) for f in families for s in f.samples}


def main():
    text = sys.stdin.read()
    new = list(openmetrics(text))
    old = list(prometheus(text))
    if len(sys.argv) > 1:
        want = tuple(sorted(tuple(a.split('=', 1)) for a in sys.argv[2:]))
        v = flat(new).get((sys.argv[1], want))
        print('none' if v is None else f'{v:g}')
        return
    bad = [b for f in new for b in lint(f)]
    if flat(new) != flat(old):
        bad.append('the two formats do not say the same')
    if {f.name: f.type for f in new if f.samples} != {f.name: f.type for f in old if f.samples}:
        bad.append('the two formats do not have the same types')
    names = [f.name for f in new]
    bad += [f'{n} is there twice' for n in set(names) if names.count(n) > 1]
    print('\n'.join(bad))


main()
