"""Which server's share is mounted at a folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from cryodaq.errors import ShareMissingError
from cryodaq.transfer.mounted import check_source, mounted_from
from cryodaq.transfer.worker import Worker

MOUNTS = r"""22 1 254:0 / / rw,relatime - ext4 /dev/vda rw
30 22 0:50 / {root}/tem1 rw,relatime shared:7 - cifs //camera1/x rw,vers=3.1.1
31 22 0:51 / {root}/tem2 rw,relatime master:3 propagate_from:2 - cifs //camera2/My\040Data rw
32 30 0:52 /inner {root}/tem1/deep rw,relatime - nfs4 files:/export rw
33 22 254:0 / {root}/tem3 rw,relatime - ext4 /dev/vdb rw
34 33 0:53 / {root}/tem3 rw,relatime - fuse.sshfs me@files:/data rw
"""


@pytest.fixture
def mounts(tmp_path: Path) -> Path:
    table = tmp_path / "mountinfo"
    table.write_text(MOUNTS.replace("{root}", str(tmp_path)))
    for name in ("tem1/folder", "tem1/deep", "tem2", "tem3", "tem10"):
        (tmp_path / name).mkdir(parents=True)
    return table


@pytest.mark.parametrize(
    ("folder", "source"),
    [
        ("tem1", "//camera1/x"),
        ("tem1/folder", "//camera1/x"),
        ("tem1/deep", "files:/export/inner"),
        ("tem2", "//camera2/My Data"),
        ("tem3", "me@files:/data"),
        ("tem10", None),
    ],
)
def test_the_source_of_the_mount_that_a_folder_lies_in(
    tmp_path: Path, mounts: Path, folder: str, source: str | None
) -> None:
    assert mounted_from(tmp_path / folder, mounts=mounts) == source


def test_the_kernels_own_table_is_read(tmp_path: Path) -> None:
    assert mounted_from(tmp_path) is None


def test_another_source_than_expected_is_refused_with_both_names() -> None:
    check_source(Path("/x"), expected=None, found="//camera2/x")
    check_source(Path("/x"), expected="//CAMERA1/x/", found="//camera1/x")
    with pytest.raises(ShareMissingError, match=r"//camera2/x is there, not //camera1/x.*mounted_from"):
        check_source(Path("/x"), expected="//camera1/x", found="//camera2/x")
    with pytest.raises(ShareMissingError, match="a local folder is there"):
        check_source(Path("/x"), expected="//camera1/x", found=None)


def test_another_share_with_the_device_number_of_the_one_before_is_refused(tmp_path: Path) -> None:
    """The kernel gives the number of what was unmounted to what is mounted next."""
    sources = iter(["//camera1/x", "//camera1/x", "//camera2/x"])
    worker = Worker(root=tmp_path, sentinel=None, excludes=[], source_of=lambda _folder: next(sources))
    assert worker.check_share() == worker.check_share() == tmp_path.stat().st_dev
    with pytest.raises(ShareMissingError, match="//camera2/x is there, not //camera1/x"):
        worker.check_share()
