#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What a machine needs to run the kernel's own netlink client (tools/net/ynl, see
scripts/linux-source.sh) with our specification: a python with as much of its library
as that imports, in one archive, compiled, as an emulated processor is slow at that.

Prints options for selftests/vm/run. In the machine: PYTHONHOME=/hf/ynl
/hf/ynl/bin/python3 -S /hf/ynl/cli.py --no-schema --spec /hf/ynl/holdfast.yaml"""

import glob
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile

sys.dont_write_bytecode = True
import initrd  # noqa: E402

SPEC = os.path.join(initrd.REPO, "Documentation/netlink/specs/holdfast.yaml")
VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"
# Runs cli.py, which this kernel may have no family for, and tells what was imported, and
# where from. Without site's directories, as in the machine; yaml's own is added, but not
# its half that is written in C.
LIST = """
import sys
ynl, spec = sys.argv[1], sys.argv[3]
sys.path[:0] = sys.argv[1:3]
sys.modules["yaml._yaml"] = None
import contextlib, runpy
sys.argv = ["cli.py", "--no-schema", "--spec", spec, "--list-ops"]
with contextlib.redirect_stdout(sys.stderr), contextlib.suppress(SystemExit, Exception):
    runpy.run_path(ynl + "/cli.py", run_name="__main__")
for name, m in sorted(sys.modules.items()):
    if getattr(m, "__file__", None):
        print(name, m.__file__, hasattr(m, "__path__"))
if "lib.ynl" not in sys.modules:
    sys.exit("it is not complete")
"""


def client():
    """The directory that has cli.py and lib."""
    r = subprocess.run([os.path.join(initrd.REPO, "scripts/linux-source.sh")],
                       stdout=subprocess.PIPE, text=True)
    if r.returncode:
        raise initrd.VmError("there is no kernel source (above)")
    return os.path.join(r.stdout.strip(), "tools/net/ynl")


def archive(work, ynl):
    """The library in one file; the modules that are shared objects."""
    import yaml
    r = subprocess.run([sys.executable, "-S", "-c", LIST, ynl,
                        os.path.dirname(os.path.dirname(yaml.__file__)), SPEC],
                       capture_output=True, text=True)
    if r.returncode:
        raise initrd.VmError(f"the netlink client does not start: {r.stderr.strip()}")
    tree = os.path.join(work, "zip")
    for line in r.stdout.splitlines():
        name, path, package = line.split()
        if path.endswith(".so"):
            shutil.copy(path, os.path.join(work, "lib"))
            continue
        rel = name.replace(".", "/") + ("/__init__.py" if package == "True" else ".py")
        os.makedirs(os.path.dirname(os.path.join(tree, rel)), exist_ok=True)
        shutil.copyfile(path, os.path.join(tree, rel))
    subprocess.run([sys.executable, "-m", "compileall", "-q", "-b", "-s", tree,
                    "--invalidation-mode", "unchecked-hash", tree], check=True)
    with zipfile.ZipFile(os.path.join(work, "library.zip"), "w") as z:
        for path in sorted(glob.glob("**/*.pyc", root_dir=tree, recursive=True)):
            z.write(os.path.join(tree, path), path)
    shutil.rmtree(tree)


def made():
    """The directory that holds all of it, kept for as long as the client is the same."""
    ynl = client()
    key = f"{ynl} {os.stat(ynl).st_mtime_ns} {sys.version}"
    kept = os.path.join(initrd.BUILD, "vm", "ynl-" + hashlib.sha256(key.encode()).hexdigest()[:12])
    if os.path.isdir(kept):
        return kept
    os.makedirs(os.path.dirname(kept), exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="ynl.", dir=os.path.dirname(kept)) as work:
        new = os.path.join(work, "new")
        os.makedirs(os.path.join(new, "lib"))
        archive(new, ynl)
        shutil.copy(os.path.join(ynl, "cli.py"), new)
        try:
            os.rename(new, kept)
        except OSError:
            if not os.path.isdir(kept):     # another run has made the same
                raise
    return kept


def main():
    try:
        kept = made()
    except (initrd.VmError, ImportError, OSError) as e:
        sys.exit(f"selftests/vm/ynl.py: {e}")
    library = f"/hf/ynl/lib/python{VERSION}"
    files = [(os.path.realpath(sys.executable), "/hf/ynl/bin/python3"), (SPEC, "/hf/ynl/holdfast.yaml"),
             (f"{kept}/cli.py", "/hf/ynl/cli.py"),
             (f"{kept}/library.zip", f"/hf/ynl/lib/python{VERSION.replace('.', '')}.zip")]
    files += [(so, f"{library}/lib-dynload/{os.path.basename(so)}")
              for so in sorted(glob.glob(f"{kept}/lib/*.so"))]
    for src, dest in files:
        print(f"--file={src}:{dest}")


main()
