# SPDX-License-Identifier: GPL-2.0-or-later
"""TAP, said by this side and heard from a machine."""

import re

POINT = re.compile(r"^(not )?ok\b\s*(\d+)?\s*(?:-\s*)?(.*?)\s*(?:#\s*(SKIP|TODO|XFAIL)\b\s*(.*))?$",
                   re.IGNORECASE)
PLAN = re.compile(r"^1\.\.(\d+)\s*(?:#\s*SKIP\b\s*(.*))?$", re.IGNORECASE)
KSFT_SKIP = 4


class Tap:
    """Prints points as they come, the plan at the end."""

    def __init__(self):
        self.count = 0
        self.failed = 0

    def ok(self, good, name, why=""):
        self.count += 1
        self.failed += not good
        print(f"{'ok' if good else 'not ok'} {self.count} - {name}".replace("#", "\\#"), flush=True)
        if not good and why:
            self.diag(why)
        return bool(good)

    def skip(self, name, why):
        self.count += 1
        print(f"ok {self.count} - {name.replace('#', '')} # SKIP {why}", flush=True)

    @staticmethod
    def diag(text):
        for line in str(text).splitlines():
            print(f"# {line}", flush=True)

    def done(self):
        """Prints the plan; the program's exit status."""
        print(f"1..{self.count}", flush=True)
        return 1 if self.failed else 0


class PlannedSkips:
    """Lines "KERNEL TEST REASON" or "KERNEL TEST: POINT" name what a test may skip
    on that kernel: all of it, or the points whose names begin so."""

    def __init__(self, path):
        self.whole, self.points, self.used = {}, [], set()
        with open(path) as f:
            for line in f:
                words = line.split("#")[0].split(None, 2)
                if not words:
                    continue
                if len(words) < 3:
                    raise ValueError(f"{path}: '{line.strip()}' is not KERNEL TEST[:] TEXT")
                version, test, text = words[0], words[1], words[2].strip()
                if test.endswith(":"):
                    self.points.append((version, test[:-1], text))
                else:
                    self.whole[version, test] = text

    def whole_test(self, version, test):
        return self.whole.get((version, test))

    def point(self, version, test, name):
        for entry in self.points:
            if entry[:2] == (version, test) and name.startswith(entry[2]):
                self.used.add(entry)
                return True
        return False

    def unused(self, version, test):
        return [e[2] for e in self.points if e[:2] == (version, test) and e not in self.used]


def relay(tap, output, status, version, test, prefix, skips):
    """Repeats what a test in a machine printed as points of ours, and judges: a
    skip that is not planned, a planned one that is not skipped, no points, a plan
    that was not kept and an exit status that says otherwise all fail."""
    plan = plan_skip = None
    seen = failed = skipped = 0
    for line in output.splitlines():
        line = line.rstrip()
        m = PLAN.match(line)
        if m:
            plan, plan_skip = int(m[1]), m[2]
            continue
        m = POINT.match(line)
        if not m:
            if line and not line.startswith("TAP version"):
                tap.diag(line[2:] if line.startswith("# ") else line)
            continue
        seen += 1
        name = m[3] or f"point {seen}"
        directive = (m[4] or "").upper()
        if directive == "SKIP":
            skipped += 1
            if skips.point(version, test, name) or skips.whole_test(version, test):
                tap.skip(f"{prefix}: {name}", m[5] or "planned")
            else:
                failed += 1
                tap.ok(False, f"{prefix}: {name}", f"a skip that is not planned: {m[5]}")
        elif directive == "XFAIL":
            tap.ok(True, f"{prefix}: {name} (fails as expected: {m[5]})")
        else:
            failed += bool(m[1])
            tap.ok(not m[1], f"{prefix}: {name}")

    planned = skips.whole_test(version, test)
    all_skipped = status == KSFT_SKIP or plan_skip is not None or (plan == 0 and not seen)
    end = f"{prefix}: runs to its end"
    if all_skipped:
        if planned:
            return tap.skip(end, planned)
        return tap.ok(False, end, f"it was skipped, which is not planned: {plan_skip or ''}")
    why = []
    if planned:
        why.append("its skip is planned, but it was not skipped; remove it from the list")
    why += [f"the planned skip of '{p}' did not happen; remove it from the list"
            for p in skips.unused(version, test)]
    if plan is None:
        why.append("it printed no plan")
    elif plan != seen:
        why.append(f"it planned {plan} points and printed {seen}")
    if not seen:
        why.append("it printed no test points")
    if status != 0 and not failed:
        why.append(f"exit status {status}, though no point failed")
    if status == 0 and failed > skipped:
        why.append("exit status 0, though points failed")
    return tap.ok(not why, end, "\n".join(why))
