# SPDX-License-Identifier: GPL-2.0-or-later
"""The results of parts in a directory: results.json, tables.md, and plots as plain SVG."""
import json
import os


def keep(where, r):
    """Part @r in @where, the other parts as they were."""
    path = where + '/results.json'
    os.makedirs(where, exist_ok=True)
    try:
        with open(path, encoding='ascii') as f:
            all_of = json.load(f)
    except FileNotFoundError:
        all_of = {}
    all_of[r['name']] = r
    with open(path, 'w', encoding='ascii') as f:
        json.dump(all_of, f, indent=1)
