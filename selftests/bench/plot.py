# SPDX-License-Identifier: GPL-2.0-or-later
"""The results of a part in a page, with plots as plain SVG beside it."""
import html
import math
import os

WIDTH, LABEL, ROW, TOP = 720, 250, 22, 34
OURS, THEIRS, BOUND = '#2f6f9f', '#b9b9b9', '#d08a2e'
STYLE = 'font-family="sans-serif" font-size="12"'


def keep(page, name, title, said, plots):
    """What part @name said, and its plots, into @page between the marks that name the part."""
    where = os.path.splitext(page)[0]
    os.makedirs(where, exist_ok=True)
    new = [f'### {title[0].upper()}{title[1:]}', ''] + ['    ' + x if x else '' for x in said.rstrip().splitlines()] + ['']
    for p in plots:
        with open(f"{where}/{p['name']}.svg", 'w', encoding='utf-8') as f:
            f.write(bars(p) if 'bars' in p else lines(p))
        new.append(f"![{p['title']}]({os.path.basename(where)}/{p['name']}.svg)")
    with open(page, encoding='utf-8') as f:
        text_of = f.read()
    begin, end = f'<!-- bench {name} -->\n', f'<!-- end {name} -->\n'
    if begin not in text_of or end not in text_of:
        raise ValueError(f'{page}: no {begin.strip()} and {end.strip()}')
    before, rest = text_of.split(begin, 1)
    with open(page, 'w', encoding='utf-8') as f:
        f.write(before + begin + '\n'.join(new) + '\n' + end + rest.split(end, 1)[1])


def text(x, y, s, more=''):
    return f'<text x="{x:.0f}" y="{y:.0f}" {more}>{html.escape(s)}</text>'


def number(v):
    return f'{v:.2f}' if v < 10 else f'{v:.1f}' if v < 100 else f'{v:,.0f}'


def frame(height, title, body):
    return '\n'.join(['<!-- SPDX-License-Identifier: GPL-2.0-or-later -->',
                      f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" '
                      f'viewBox="0 0 {WIDTH} {height}" {STYLE}>',
                      f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
                      text(8, 20, title, 'font-weight="bold"')] + body + ['</svg>', ''])


def colour(name):
    if any(w in name for w in ('floor', 'getdents', 'fanotify event', 'sync_file_range', 'O_DIRECT', 'direct read')):
        return BOUND
    return OURS if any(w in name for w in ('Holdfast', 'confirmed', 'whole command')) else THEIRS


def bars(p):
    rows = {k: v for k, v in p['bars'].items() if v is not None}
    most = max(rows.values()) or 1
    room = WIDTH - LABEL - 80
    out = []
    for i, (k, v) in enumerate(rows.items()):
        y = TOP + i * ROW
        out += [text(LABEL - 8, y + 14, k.strip(), 'text-anchor="end"'),
                f'<rect x="{LABEL}" y="{y + 2}" width="{max(1, v / most * room):.1f}" height="{ROW - 6}" fill="{colour(k)}"/>',
                text(LABEL + v / most * room + 6, y + 14, number(v))]
    return frame(TOP + len(rows) * ROW + 10, p['title'], out)


def lines(p):
    """Both axes logarithmic: what does not depend on x is level."""
    height, left, low = 260, 70, 220
    xs = [math.log10(x) for x in p['x']]
    values = [v for line in p['lines'].values() for v in line if v > 0]
    bottom, top = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)) + 0.01)

    def at(x, v):
        return (left + (x - xs[0]) / (xs[-1] - xs[0]) * (WIDTH - left - 220),
                low - (math.log10(max(v, 10 ** bottom)) - bottom) / (top - bottom) * (low - TOP - 10))
    out = []
    for e in range(bottom, top + 1):
        y = at(xs[0], 10 ** e)[1]
        out += [f'<line x1="{left}" y1="{y:.0f}" x2="{WIDTH - 220}" y2="{y:.0f}" stroke="#dddddd"/>',
                text(left - 8, y + 4, f'{10 ** e:g}', 'text-anchor="end"')]
    for x, name in zip(xs, p['x']):
        out.append(text(at(x, 1)[0], low + 20, f'{name:,}', 'text-anchor="middle"'))
    for (name, line), c in zip(p['lines'].items(), (OURS, BOUND, THEIRS)):
        points = [at(x, v) for x, v in zip(xs, line)]
        out.append('<polyline fill="none" stroke-width="2" stroke="%s" points="%s"/>' %
                   (c, ' '.join(f'{x:.1f},{y:.1f}' for x, y in points)))
        out += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{c}"/>' for x, y in points]
        out.append(text(points[-1][0] + 10, points[-1][1] + 4, f'{name} ({number(line[-1])})', f'fill="{c}"'))
    return frame(height, p['title'], out)
