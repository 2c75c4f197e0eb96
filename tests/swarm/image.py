"""One image for all services of the trial, from Debian's packages and the pinned wheels: no registry is needed."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.swarm.lab import Node, run

IMAGE = "cryodaq-lab:1"
PACKAGES = "python3,ca-certificates,libacl1,libgomp1,postgresql,redis-server,util-linux"
REPOSITORY = Path(__file__).resolve().parents[2]
WRAPPERS = {
    "cryodaq": '#!/bin/sh\nexec python3 -m cryodaq "$@"\n',
    "airflow": '#!/bin/sh\nexec python3 -m airflow "$@"\n',
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


def make_rootfs(folder: Path) -> Path:
    """Make the image's file system below a folder, or bring the one of an earlier trial up to date."""
    rootfs = folder / "rootfs"
    if not (rootfs / "usr/bin/redis-server").exists():
        shutil.rmtree(rootfs, ignore_errors=True)
        command = ["debootstrap", "--variant=minbase", f"--include={PACKAGES}", "bookworm", str(rootfs)]
        run(command, timeout_s=1200)
        shutil.rmtree(rootfs / "var/cache/apt", ignore_errors=True)
    library = rootfs / "usr/local/lib/python3.11/dist-packages"
    pins = REPOSITORY / "requirements" / "runtime.txt"
    stamp, digest = folder / "stamp", hashlib.sha256(pins.read_bytes()).hexdigest()
    if not stamp.exists() or stamp.read_text() != digest:
        shutil.rmtree(library, ignore_errors=True)
        options = ["--quiet", "--python-version", "3.11", "--only-binary", ":all:", "--require-hashes"]
        uv = str(REPOSITORY / ".venv/bin/uv")
        run([uv, "pip", "install", *options, "--target", str(library), "-r", str(pins)], timeout_s=900)
        run([str(REPOSITORY / ".venv/bin/python"), "-m", "compileall", "-q", str(library)], timeout_s=900, check=False)
        stamp.write_text(digest)
    shutil.rmtree(library / "cryodaq", ignore_errors=True)
    shutil.copytree(REPOSITORY / "src" / "cryodaq", library / "cryodaq")
    (library / "cryodaq-0.1.0.dist-info").mkdir(exist_ok=True)
    (library / "cryodaq-0.1.0.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: cryodaq\nVersion: 0.1.0\n"
    )
    for name, text in WRAPPERS.items():
        path = rootfs / "usr/local/bin" / name
        path.write_text(text)
        path.chmod(0o755)
    return rootfs


def load(rootfs: Path, nodes: list[Node]) -> None:
    """Give the image to every node."""
    with ThreadPoolExecutor(len(nodes)) as pool:
        list(pool.map(lambda node: _import(rootfs, node), nodes))


def _import(rootfs: Path, node: Node) -> None:
    path = "/usr/local/bin:/usr/bin:/bin:/usr/sbin"
    changes = ["--change", f"ENV PATH={path} PYTHONUNBUFFERED=1 NUMBA_CACHE_DIR=/tmp/numba"]
    with subprocess.Popen(["tar", "-C", str(rootfs), "-c", "."], stdout=subprocess.PIPE) as packed:
        subprocess.run(
            ["docker", "-H", f"unix://{node.folder}/s", "import", *changes, "-", IMAGE],
            stdin=packed.stdout,
            check=True,
            capture_output=True,
            timeout=900,
        )
