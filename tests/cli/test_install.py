# SPDX-License-Identifier: Apache-2.0
"""make install and make deb: what they lay down works from there."""
import json
import os
import re
import shutil
import subprocess
import sys

import pytest

import harness

pytestmark = pytest.mark.skipif(harness.SANITIZED, reason="what is installed is the plain build")


def make(*arguments):
    done = subprocess.run(["make", "--no-print-directory", "-C", str(harness.ROOT), f"BUILD={harness.BUILD}", *arguments],
                          capture_output=True, text=True, timeout=170, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def works(root, tmp_path):
    """The programs under root find each other, the runner and the example."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith("DROVER_")}
    env = {**plain, "XDG_CONFIG_HOME": str(tmp_path / "config"), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    drover = root / "bin" / "drover"
    assert subprocess.run([drover, "version"], env=env, capture_output=True, text=True, check=True).stdout
    ran = subprocess.run([drover, "run", root / "share/drover/examples/hello", "run", "--input", '{"name": "Ada"}',
                          "--python", sys.executable], env=env, capture_output=True, text=True, timeout=120, check=False)
    assert ran.returncode == 0 and json.loads(ran.stdout) == {"text": "Hello, Ada!"}, ran.stderr
    if shutil.which("node"):
        words = subprocess.run([drover, "run", root / "share/drover/examples/node-words", "words", "-i", '{"text": "a b a"}'],
                               env=env, capture_output=True, text=True, timeout=120, check=False)
        assert words.returncode == 0 and json.loads(words.stdout)[0] == {"word": "a", "count": 2}, words.stderr
    example = tmp_path / "native"
    shutil.copytree(root / "share/drover/examples/native-image-size", example)
    subprocess.run(["make", "-s", "-C", example, f"DROVER_INCLUDE={root}/include"], check=True)
    primes = subprocess.run([drover, "run", example, "primes", "-i", '{"to": 100}'], env=env, capture_output=True, text=True,
                            timeout=120, check=False)
    assert primes.returncode == 0 and json.loads(primes.stdout) == 25, primes.stderr
    assert (root / "share/man/man1/drover.1").exists() or (root / "share/man/man1/drover.1.gz").exists()
    assert (root / "share/bash-completion/completions/drover").read_text().startswith("# bash completion")


def links_resolve(root):
    """What README and docs/ refer to is there too: pages, pictures, the licence."""
    documents = root / "share/doc/drover"
    pages = [documents / "README.md", *(documents / "docs").glob("*.md")]
    assert len(pages) > 5
    for page in pages:
        for link in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()):
            assert link.startswith("http") or (page.parent / link).exists(), f"{page.name}: {link}"


def test_install_and_uninstall(tmp_path):
    make("install", "PREFIX=/opt/drover", f"DESTDIR={tmp_path}/root")
    root = tmp_path / "root" / "opt" / "drover"
    works(root, tmp_path)
    links_resolve(root)
    unit = (root / "lib/systemd/system/drover.service").read_text()
    assert "ExecStart=/opt/drover/bin/drover server" in unit and "KillMode=process" in unit
    make("uninstall", "PREFIX=/opt/drover", f"DESTDIR={tmp_path}/root")
    assert not [path for path in root.rglob("*") if path.is_file()]


@pytest.mark.skipif(not shutil.which("dpkg-deb"), reason="no Debian")
def test_debian_package(tmp_path):
    package = make("deb").split()[-1]
    said = subprocess.run(["dpkg-deb", "-I", package], capture_output=True, text=True, check=True).stdout
    assert "python3-venv" in said and "libsqlite3-0" in said and "libuv1" in said
    subprocess.run(["dpkg-deb", "-x", package, str(tmp_path / "root")], check=True)
    works(tmp_path / "root" / "usr", tmp_path)
    assert (tmp_path / "root" / "etc/default/drover").exists()
    if shutil.which("lintian"):
        done = subprocess.run(["lintian", "--fail-on", "error", package], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout
