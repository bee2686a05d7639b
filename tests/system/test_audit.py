"""``wirt audit`` on real guests: clean in a jail, naming exactly what someone changed from outside, and honest
without one.

All of it is in a network namespace of the test's own. nsenter(1) and not ``ip netns exec``, which would put a
fresh /sys over the control groups.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from wirt.images.tiny import TinyImage
from wirt.sandbox import facts, observe_groups, observe_rights

from .conftest import NOBODY, give_facts
from .guests import pvh, silent
from .host import Host, a_host

pytestmark = [pytest.mark.real, pytest.mark.root]

LOOKS = 20
"""wirtd mends by itself what it finds amiss, and may come first."""
Json = dict[str, Any]


@pytest.fixture(scope="module")
def namespace() -> Iterator[str]:
    if not facts.may_be_root():
        pytest.skip("needs root with CAP_SYS_ADMIN and CAP_SETUID: sudo make test")
    name = f"wirt-audit-{uuid.uuid4().hex[:8]}"
    made = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True, timeout=30, check=False)
    if made.returncode != 0:
        pytest.skip(f"needs CAP_SYS_ADMIN to make a network namespace ({made.stderr.strip()})")
    try:
        inside(name, "ip", "link", "set", "lo", "up")
        inside(name, "ip", "link", "add", "outside", "type", "veth", "peer", "name", "outside-peer")
        yield name
    finally:
        subprocess.run(["ip", "netns", "del", name], timeout=30, check=True)


def inside(namespace: str, *command: str) -> str:
    words = ["nsenter", f"--net=/run/netns/{namespace}", *command]
    return subprocess.run(words, capture_output=True, text=True, timeout=30, check=True).stdout


def a_host_in(namespace: str, tmp_path: Path, qemu_facts: Path, **settings: str) -> Any:
    home = give_facts(tmp_path / "home", qemu_facts)
    return a_host(home, tmp_path, prefix=("nsenter", f"--net=/run/netns/{namespace}"), environment=settings)


@pytest.fixture(scope="module")
def host(
    namespace: str, tmp_path_factory: pytest.TempPathFactory, qemu_facts: Path, tiny: TinyImage
) -> Iterator[Host]:
    """With a jailed guest, "web", that has a card in a bridge."""
    with a_host_in(namespace, tmp_path_factory.mktemp("audit"), qemu_facts, WIRT_JAIL="on") as made:
        made.ok("create", "-p", made.write("web.cfg", pvh(tiny, "web", vif="ip=10.219.0.5")))
        yield made


def audit(host: Host, *refs: str) -> Json:
    """The audit; its exit code is held against its verdict."""
    result = host.run("-o", "json", "audit", *refs)
    document: Json = result.json
    assert result.code == (1 if document["verdict"] == "wider" else 0), result
    return document


def found(document: Json, verdict: str = "wider") -> dict[str, Json]:
    """By what they are about."""
    parts = [*(finding for domain in document["domains"] for finding in domain["findings"]), *document["home"]]
    return {finding["what"]: finding for finding in parts if finding["verdict"] == verdict}


def named(host: Host, break_it: Callable[[], object]) -> dict[str, Json]:
    """What the audit names right after ``break_it``."""
    for _ in range(LOOKS):
        break_it()
        if wider := found(audit(host)):
            return wider
    raise AssertionError("nothing was found")


def until_clean(host: Host) -> None:
    deadline = time.monotonic() + 60
    while wider := found(audit(host)):
        assert time.monotonic() < deadline, wider
        time.sleep(0.5)


def test_a_jailed_guest_audits_clean(host: Host) -> None:
    document = audit(host)
    [domain] = document["domains"]
    assert document["verdict"] == "ok", {
        **found(document),
        **found(document, "unknown"),
        **found(document, "weaker"),
    }
    assert (domain["name"], domain["jailed"], domain["sentence"]) == ("web", True, "as it should be")
    findings = {finding["what"]: finding for finding in domain["findings"]}
    tap = host.domain("web")["vifs"][0]["tap"]
    assert findings["taps"]["found"] == tap
    assert findings["vif 0"]["found"].startswith(f"{tap} in wirtbr0")
    assert findings["vif 0 rules"]["expected"] == "no spoofing"
    assert findings["uid"]["found"] == findings["uid"]["expected"] != "0"
    title = f"web (domain {domain['domid']}, process {domain['pid']}): as it should be"
    assert host.ok("audit").out.splitlines()[0] == title


def image(path: Path, *words: str) -> Path:
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", *words, str(path), "8M"], timeout=30, check=True)
    return path


@pytest.mark.parametrize("firmware", ["seabios", "ovmf"])
def test_firmware_disks_and_what_they_stand_on_are_the_guests_own(host: Host, firmware: str) -> None:
    base = image(host.scratch / f"{firmware}-base.qcow2")
    top = image(host.scratch / f"{firmware} and a blank.qcow2", "-b", str(base), "-F", "qcow2")
    cd = host.scratch / "setup.iso"
    cd.write_bytes(bytes(1 << 20))
    config = f"""
name = "{firmware}"
type = "hvm"
bios = "{firmware}"
memory = 128
disk = ["{top},qcow2,hda,rw", "{cd},raw,hdc,ro,cdrom"]
vif = ["net=none"]
"""
    host.ok("create", "-p", host.write(f"{firmware}.cfg", config))
    try:
        document = audit(host, firmware)
        assert document["verdict"] == "ok", found(document)
        opened = next(f for f in document["domains"][0]["findings"] if f["what"] == "open files")["details"]
        assert f"{top} (read-write)" in opened
        assert f"{base} (read)" in opened
        assert f"{cd} (read)" in opened
    finally:
        host.ok("destroy", firmware)


def test_a_limit_that_was_raised_is_named(host: Host) -> None:
    """The only one that can be raised from outside without CAP_SYS_RESOURCE: by the run's own uid."""
    pid = str(host.domain("web")["pid"])
    uid = Path(f"/proc/{pid}").stat().st_uid
    before = observe_rights.limits(int(pid))["file"].soft
    as_it = ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups", "--inh-caps=-all", "--"]

    def limit(value: str) -> None:
        subprocess.run([*as_it, "prlimit", "--pid", pid, f"--fsize={value}:"], timeout=30, check=True)

    limit("unlimited")
    try:
        wider = found(audit(host))
    finally:
        limit(str(before))
    assert set(wider) == {"file length"}
    assert (wider["file length"]["found"], wider["file length"]["expected"]) == ("unlimited", "1.0 GiB")
    assert found(audit(host)) == {}


def memberships(pid: int) -> dict[str, Path]:
    """Where version 1's controllers have the run; empty under version 2."""
    found = observe_groups.control_groups(pid)
    return {name: Path(group.place) for group in found for name in group.controllers if "/wirt/" in group.place}


@pytest.mark.parametrize("name", ["pids", "memory", "devices"])
def test_a_process_moved_out_of_its_control_group_is_named(host: Host, name: str) -> None:
    pid = host.domain("web")["pid"]
    place = memberships(pid).get(name)
    if place is None:
        pytest.skip(f"needs a control group of version 1 with {name}; in version 2 all are one")
    (place.parent.parent / "cgroup.procs").write_text(str(pid))
    try:
        wider = found(audit(host))
    finally:
        (place / "cgroup.procs").write_text(str(pid))
    bound = {"pids": "threads, in force", "memory": "memory, in force", "devices": "device files"}[name]
    assert "control groups" in wider
    assert set(wider) <= {"control groups", bound}, "above may be a bound that is tighter still"
    assert str(place) in wider["control groups"]["why"]
    assert found(audit(host)) == {}


def test_one_thread_moved_out_is_named_too(host: Host) -> None:
    pid = host.domain("web")["pid"]
    place = memberships(pid).get("pids")
    if place is None:
        pytest.skip("needs control groups of version 1, where threads can be apart")
    thread = max(int(entry.name) for entry in Path(f"/proc/{pid}/task").iterdir())
    (place.parent.parent / "tasks").write_text(str(thread))
    try:
        wider = found(audit(host))
    finally:
        (place / "tasks").write_text(str(thread))
    assert "a thread is in" in wider["control groups"]["why"]


def test_rules_that_were_flushed_are_named_and_mended(host: Host, namespace: str) -> None:
    tap = host.domain("web")["vifs"][0]["tap"]
    assert tap in inside(namespace, "nft", "list", "ruleset"), "there are no rules, so this test sees nothing"
    wider = named(host, lambda: inside(namespace, "nft", "flush", "ruleset"))
    assert set(wider) == {"vif 0 rules"}
    host.kill9()
    host.start()
    until_clean(host)


def test_a_tap_in_another_bridge_is_named(host: Host, namespace: str) -> None:
    [vif] = host.domain("web")["vifs"]
    inside(namespace, "ip", "link", "add", "elsewhere", "type", "bridge")
    try:
        wider = named(host, lambda: inside(namespace, "ip", "link", "set", vif["tap"], "master", "elsewhere"))
    finally:
        inside(namespace, "ip", "link", "set", vif["tap"], "master", "wirtbr0")
        inside(namespace, "ip", "link", "del", "elsewhere")
    assert set(wider) == {"vif 0"}
    assert "in elsewhere" in wider["vif 0"]["found"]
    until_clean(host)


def test_files_of_the_home_that_others_could_open_are_named(host: Host) -> None:
    log = Path(host.home.log)
    log.touch(0o600)
    modes = {path: path.stat().st_mode & 0o777 for path in (Path(host.home.state), log.parent, log)}
    try:
        for path in modes:
            path.chmod(0o755)
        wider = found(audit(host))
        assert set(wider) == {"open to other users"}
        assert f"{log} (0755)" in wider["open to other users"]["details"]
    finally:
        for path, mode in modes.items():
            path.chmod(mode)
    assert found(audit(host)) == {}


def test_a_daemon_that_came_later_audits_the_same(host: Host) -> None:
    before = audit(host)["domains"][0]["findings"]
    host.kill9()
    host.start()
    until_clean(host)
    after = audit(host)["domains"][0]["findings"]
    assert [finding["expected"] for finding in after] == [finding["expected"] for finding in before]


def test_what_is_asked_for_must_run_and_be_there(host: Host) -> None:
    assert "no domain nosuch" in host.fails("audit", "nosuch")
    assert "Domain-0 is the host itself" in host.fails("audit", "0")


def test_a_record_of_the_jail_that_was_lost_or_spoilt_is_no_clean_audit(host: Host) -> None:
    record = Path(host.home.domains, str(host.domain("web")["domid"]), "jail-plan.json")
    text = record.read_text()
    try:
        record.write_text("{")
        document = audit(host)
        assert document["domains"][0]["verdict"] == "unknown"
        assert "jail-plan.json" in found(document, "unknown")["process"]["why"]
    finally:
        record.write_text(text)
    assert audit(host)["verdict"] == "ok"


def test_a_guest_without_a_jail_gets_its_honest_list(
    namespace: str, tmp_path: Path, qemu_facts: Path, tiny: TinyImage
) -> None:
    with a_host_in(namespace, tmp_path, qemu_facts, WIRT_JAIL="off") as host:
        host.ok("create", "-p", host.write("open.cfg", silent(tiny, "open")))
        document = audit(host)
        [domain] = document["domains"]
        assert (domain["jailed"], domain["verdict"]) == (False, "wider")
        assert domain["sentence"] == "wider than a jail: it runs without one"
        wider = found(document)
        assert {
            "uid", "gid", "capabilities, effective", "capabilities, bounding", "namespaces", "mounts",
            "writable places", "environment", "control groups", "memory, in force", "device files",
        } <= set(wider)  # fmt: skip
        assert wider["uid"]["found"] == "0"
        assert "open files" not in wider, "it has no files but its own, jail or not"
        assert "sockets" not in wider
        assert "wider than a jail: it runs without one" in host.run("audit").out


def test_a_card_in_user_mode_is_as_planned_whatever_stands_behind_it(
    namespace: str, tmp_path: Path, qemu_facts: Path, tiny: TinyImage
) -> None:
    """passt where it is installed; QEMU's own network, which weakens the jail, elsewhere."""
    with a_host_in(namespace, tmp_path, qemu_facts, WIRT_JAIL="on") as host:
        host.ok("create", "-p", host.write("user.cfg", pvh(tiny, "user")))
        document = audit(host)
        assert document["verdict"] in ("ok", "weaker"), found(document)
        weaker = found(document, "weaker")
        assert ("configuration" in weaker) == ("network devices" in weaker) == (document["verdict"] == "weaker")


def test_guests_that_are_in_memory_have_no_process_and_that_is_said(fake_host: Host) -> None:
    from .guests import fake

    fake_host.ok("create", fake_host.write("web.cfg", fake("web")))
    document = audit(fake_host)
    assert document["domains"][0]["verdict"] == "unknown"
    assert "no process" in found(document, "unknown")["process"]["why"]
    assert "1 not wholly seen" in fake_host.ok("audit").out


def test_without_root_what_only_root_could_give_is_told_as_weaker(
    public_directory: Path, as_nobody: tuple[str, ...], qemu_facts: Path, tiny: TinyImage
) -> None:
    for file in (tiny.kernel, tiny.initramfs):
        shutil.copy(file, public_directory)
        (public_directory / file.name).chmod(0o644)
    home = public_directory / "home"
    (home / "cache").mkdir(parents=True)
    shutil.copy(qemu_facts, home / "cache" / "qemu.json")
    for path in (public_directory, *public_directory.rglob("*")):
        os.chown(path, NOBODY, NOBODY)
    kernel, initramfs = (public_directory / file.name for file in (tiny.kernel, tiny.initramfs))
    image = replace(tiny, kernel=kernel, initramfs=initramfs)
    with a_host(home, public_directory, prefix=as_nobody, environment={"WIRT_JAIL": "on"}) as host:
        host.ok("create", "-p", host.write("web.cfg", silent(image, "web")))
        document = audit(host)
        if not document["domains"][0]["jailed"]:
            pytest.skip("needs user namespaces for ordinary users: sysctl kernel.unprivileged_userns_clone=1")
        assert document["verdict"] == "weaker", found(document)
        assert {"uid", "gid"} <= set(found(document, "weaker"))
        assert found(document, "unknown") == {}, "a user sees all of what is their own"
