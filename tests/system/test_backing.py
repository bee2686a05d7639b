"""A guest that has taken over its QEMU rewrites its disk's header: it gets no file by that."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from wirt.images.tiny import TinyImage

from .guests import silent
from .host import Host


@pytest.mark.real
def test_a_header_that_names_another_file_keeps_its_domain_off(
    real_host: Host, tiny: TinyImage, tmp_path: Path
) -> None:
    host = real_host
    secret, disk = tmp_path / "another's.raw", tmp_path / "web.qcow2"
    secret.write_bytes(b"hush" * 1024)
    qemu_img("create", "-f", "qcow2", str(disk), "1M")
    host.ok("define", host.write("web.cfg", silent(tiny, "web", f'disk = ["{disk},qcow2,xvda,w"]')))
    host.ok("start", "--paused", "web")
    host.ok("destroy", "web")

    qemu_img("rebase", "-u", "-F", "raw", "-b", str(secret), str(disk))
    said = host.fails("start", "web")
    assert f"{disk} stands on {secret}" in said and f"wirt image accept {disk}" in said
    assert host.guests() == {}

    host.ok("image", "accept", str(disk))
    host.ok("start", "--paused", "web")
    host.ok("destroy", "web")
    host.finish()


def test_an_image_that_no_domain_used_can_not_be_accepted(fake_host: Host) -> None:
    assert "was not used yet" in fake_host.fails("image", "accept", "/srv/web.qcow2")
    fake_host.finish()


def qemu_img(*words: str) -> None:
    subprocess.run(["qemu-img", words[0], "-q", *words[1:]], check=True, timeout=30)
