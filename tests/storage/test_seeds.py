"""Seeds: file systems that a guest's own tools read."""

from __future__ import annotations

import asyncio
import io
import shutil
import subprocess
from pathlib import Path

import pytest
from pycdlib import PyCdlib

from wirt.model.devices import DiskFormat
from wirt.model.errors import Unavailable
from wirt.model.storage import Volume
from wirt.storage.seeds import IsoSeeds

FILES = {"meta-data": b"{}\n", "user-data": b"#cloud-config\n" * 9000, "vendor-data": b""}


async def test_a_seed_has_its_label_and_its_files_under_their_names(tmp_path: Path) -> None:
    path = tmp_path / "web-seed.raw"
    image = await IsoSeeds().image("cidata", FILES)
    path.write_bytes(bytes(len(image) + 512))
    await IsoSeeds().write(image, Volume("default", "web-seed", DiskFormat.RAW, len(image), 0, str(path)))
    disc = PyCdlib()
    disc.open(str(path))
    for way in ("rr_path", "joliet_path"):
        for name, content in FILES.items():
            out = io.BytesIO()
            disc.get_file_from_iso_fp(out, **{way: f"/{name}"})
            assert out.getvalue() == content
    disc.close()


@pytest.mark.skipif(shutil.which("blkid") is None, reason="needs blkid (Debian: apt-get install util-linux)")
async def test_blkid_finds_a_seed_as_cloud_init_looks_for_it(tmp_path: Path) -> None:
    path = tmp_path / "seed.iso"
    path.write_bytes(await IsoSeeds().image("cidata", FILES))
    words = ["blkid", "-p", "-o", "value", "-s", "LABEL", str(path)]
    process = await asyncio.create_subprocess_exec(*words, stdout=subprocess.PIPE)
    assert (await process.communicate())[0] == b"cidata\n"


async def test_a_volume_that_is_no_file_or_that_somebody_replaced_by_a_link_is_not_written(tmp_path: Path) -> None:
    link, target = tmp_path / "seed.raw", tmp_path / "shadow"
    target.write_bytes(b"secret")
    link.symlink_to(target)
    for path in ("nfs://nas/x", str(link), str(tmp_path / "gone")):
        with pytest.raises(Unavailable):
            await IsoSeeds().write(b"x", Volume("default", "seed", DiskFormat.RAW, 1, 0, path))
    assert target.read_bytes() == b"secret"
