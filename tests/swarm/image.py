"""The image of the trial: `deploy/Dockerfile` on a base of Debian's packages, so that no registry of images is needed.

An engine of its own builds it once. The nodes get hard links to its layers: one copy on disk and in memory for all.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from tests.swarm.lab import Node, run

from cryodaq.migrations import newest_revision

BASE, IMAGE, NEXT_IMAGE = "cryodaq-base:1", "cryodaq-lab:1", "cryodaq-lab:2"
"""Debian's packages; the image; the same with a table and a column more, as a later release has them."""
PACKAGES = "python3,python3-venv,ca-certificates,libacl1,libgomp1,postgresql,redis-server,util-linux"
REPOSITORY = Path(__file__).resolve().parents[2]
OF_THIS_MACHINE = ("etc/pip.conf", "etc/ssl/certs/ca-certificates.crt")
"""Where packages come from here, and whom to trust; a site's own base has that."""
SETTINGS = ("PIP_CERT", "PIP_INDEX_URL", "SSL_CERT_FILE", "UV_DEFAULT_INDEX")
NEXT_MIGRATION = '''"""What a later release might add."""

import sqlalchemy as sa
from alembic import op

revision, down_revision = "{after}", "{before}"
branch_labels = depends_on = None


def upgrade() -> None:
    op.add_column("movie", sa.Column("of_trial", sa.Text(), server_default="later"), schema="ledger")
    op.create_table("of_trial", sa.Column("id", sa.Integer(), primary_key=True), schema="ledger")
'''
NEXT_RECIPE = f"""FROM {IMAGE}
USER 0
COPY later.py /opt/cryodaq/lib/python3.11/site-packages/cryodaq/migrations/versions/{{after}}_later.py
USER 65534:65534
"""
WRAPPERS = {
    "python": '#!/bin/sh\nexec /usr/bin/python3 "$@"\n',
    # stands for what the image of PostgreSQL does at its first start
    "postgres": """#!/bin/sh
set -e
bin=$(echo /usr/lib/postgresql/*/bin)
mkdir -p "$PGDATA"; chown -R postgres "$(dirname "$PGDATA")"; chmod 700 "$PGDATA"; mkdir -p /tmp/pg; chmod 777 /tmp/pg
if [ ! -e "$PGDATA/PG_VERSION" ]; then
    setpriv --reuid postgres --regid postgres --clear-groups "$bin/initdb" -D "$PGDATA" -U "$POSTGRES_USER" \\
        --encoding=UTF8 --locale=C.UTF-8 --auth=scram-sha-256 --pwfile="$POSTGRES_PASSWORD_FILE" >/dev/null
    echo "host all all all scram-sha-256" >> "$PGDATA/pg_hba.conf"
    echo "create database $POSTGRES_DB" | setpriv --reuid postgres --regid postgres --clear-groups \\
        "$bin/postgres" --single -D "$PGDATA" postgres >/dev/null
fi
exec setpriv --reuid postgres --regid postgres --clear-groups "$bin/postgres" -D "$PGDATA" \\
    -c listen_addresses='*' -c unix_socket_directories=/tmp/pg "$@"
""",
    "pg_isready": '#!/bin/sh\nexec /usr/bin/pg_isready -h 127.0.0.1 "$@"\n',
}
START_S = 30.0


@cache
def revisions() -> tuple[str, str]:
    """Return the revisions of the tables of this release and of the later one, as the trial found them when it began.

    The checkout may move on while the trial runs; the images do not.
    """
    now = newest_revision()
    return now, f"{int(now) + 1:04}"


def make_base(folder: Path) -> Path:
    """Make the base's file system below a folder, unless an earlier trial did."""
    root = folder / "base"
    if not (root / "usr/bin/redis-server").exists():
        shutil.rmtree(root, ignore_errors=True)
        command = ["debootstrap", "--variant=minbase", f"--include={PACKAGES}", "bookworm", str(root)]
        run(command, timeout_s=1200)
    shutil.rmtree(root / "var/cache/apt", ignore_errors=True)
    for name, text in WRAPPERS.items():
        path = root / "usr/local/bin" / name
        path.write_text(text)
        path.chmod(0o755)
    for place in OF_THIS_MACHINE:
        if (Path("/") / place).exists():
            shutil.copy(Path("/") / place, root / place)
    return root


@contextmanager
def _builder(folder: Path) -> Iterator[Node]:
    """Run an engine in the machine's own network, which it leaves as it is; the images stay below the folder."""
    node = Node(0, folder / "builder")
    node.folder.mkdir(parents=True, exist_ok=True)
    (node.folder / "pid").unlink(missing_ok=True)
    quiet = ["--bridge=none", "--iptables=false", "--ip6tables=false", "--ip-forward=false"]
    with (node.folder / "log").open("ab") as log:
        engine = subprocess.Popen([*node.engine_command(), *quiet], stdout=log, stderr=log, stdin=subprocess.DEVNULL)
    try:
        node.wait_until_up(START_S)
        yield node
    finally:
        engine.terminate()
        engine.wait(40)


def build(folder: Path) -> float:
    """Build the image and its successor; what did not change since the last trial is taken from there.

    Returns
    -------
    Seconds that it took.
    """
    begun = time.monotonic()
    root = make_base(folder)
    with _builder(folder) as node:
        if not node.docker("images", "-q", BASE).strip():
            _import(root, node)
        _build(node, ["-f", "deploy/Dockerfile", "--build-arg", f"BASE={BASE}", "-t", IMAGE, "."])
        (node.folder / "next").mkdir(exist_ok=True)
        before, after = revisions()
        (node.folder / "next" / "later.py").write_text(NEXT_MIGRATION.format(before=before, after=after))
        (node.folder / "next" / "Dockerfile").write_text(NEXT_RECIPE.format(after=after))
        _build(node, ["-t", NEXT_IMAGE, str(node.folder / "next")])
    return time.monotonic() - begun


def _build(node: Node, words: list[str]) -> None:
    """Build an image. Raises `RuntimeError` with the last lines."""
    command = ["docker", "-H", f"unix://{node.folder}/s", "build", "--network", "host", *words]
    environment = {**os.environ, "DOCKER_BUILDKIT": "0"}  # Debian's docker has no other builder
    with (node.folder / "build.log").open("w") as log:
        done = subprocess.run(
            command, env=environment, cwd=REPOSITORY, stdout=log, stderr=subprocess.STDOUT, timeout=1800, check=False
        )
    if done.returncode:
        lines = (node.folder / "build.log").read_text().splitlines()[-20:]
        message = "the image could not be built:\n" + "\n".join(lines)
        raise RuntimeError(message)


def _import(root: Path, node: Node) -> None:
    settings = " ".join(f"{name}={os.environ[name]}" for name in SETTINGS if name in os.environ)
    changes = ["--change", f"ENV {settings}"] if settings else []
    with subprocess.Popen(["tar", "-C", str(root), "-c", "."], stdout=subprocess.PIPE) as packed:
        subprocess.run(
            ["docker", "-H", f"unix://{node.folder}/s", "import", *changes, "-", BASE],
            stdin=packed.stdout,
            check=True,
            capture_output=True,
            timeout=900,
        )


def give(folder: Path, nodes: list[Node]) -> None:
    """Give the images to nodes whose engines do not run yet."""
    built = folder / "builder" / "data"
    for node in nodes:
        (node.folder / "data").mkdir(mode=0o710, parents=True)
        run(["cp", "-a", str(built / "image"), str(node.folder / "data")])
        run(["cp", "-al", str(built / "overlay2"), str(node.folder / "data")])
