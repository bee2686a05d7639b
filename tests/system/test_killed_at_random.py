"""kill -9 of wirtd at any moment of a command: afterwards the domain is there wholly or not at all."""

from __future__ import annotations

import random
import subprocess
import time

import pytest

from wirt.images.tiny import TinyImage

from .guests import READY, pvh, silent, watch
from .host import COMMAND_S, Host

pytestmark = pytest.mark.real
TIMES = [4, pytest.param(200, marks=pytest.mark.long)]
SEED = 20260730


def interrupted(host: Host, delay_s: float, *words: str) -> int:
    """Run a command and kill the daemon after ``delay_s``; the command's exit code. It must never hang, nor show
    what only a programmer can read."""
    process = host.spawn("wirt", *words, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    time.sleep(delay_s)
    host.kill9()
    _, told = process.communicate(timeout=COMMAND_S)
    assert process.returncode in (0, 1), told
    assert b"Traceback" not in told, told.decode()
    assert b"fault in wirt" not in told, told.decode()
    return process.returncode


def runs(host: Host, name: str) -> bool:
    """Whether there is such a domain. If so it is whole: one process, and it is the recorded one."""
    if name not in host.names():
        host.assert_nothing_left()
        return False
    domain = host.domain(name)
    assert domain["state"] == "running"
    assert list(host.guests()) == [domain["pid"]]
    return True


def measured(host: Host, *words: str) -> float:
    begin = time.monotonic()
    host.ok(*words)
    return time.monotonic() - begin


@pytest.mark.parametrize("times", TIMES)
def test_a_create_is_whole_or_undone_and_its_name_is_free_again(
    real_host: Host, tiny: TinyImage, times: int
) -> None:
    host, chance = real_host, random.Random(SEED)
    path = host.write("web.cfg", silent(tiny, "web"))
    usual_s = measured(host, "create", path)
    host.ok("destroy", "web")
    for attempt in range(times):
        code = interrupted(host, chance.uniform(0, 1.2 * usual_s), "create", path)
        host.start()
        there = runs(host, "web")
        assert there or code != 0, f"attempt {attempt}: it was told as created, and is not there"
        if there:
            code = interrupted(host, chance.uniform(0, usual_s / 2), "destroy", "web")
            host.start()
            there = runs(host, "web")
            assert not there or code != 0, f"attempt {attempt}: it was told as destroyed, and is there"
        else:
            host.ok("create", path)
            there = runs(host, "web")
            assert there
        if there:
            host.ok("destroy", "web")
        host.assert_nothing_left()


@pytest.mark.parametrize("times", [3, pytest.param(100, marks=pytest.mark.long)])
def test_a_start_is_whole_or_undone_and_the_domain_stays_defined(
    real_host: Host, tiny: TinyImage, times: int
) -> None:
    host, chance = real_host, random.Random(SEED)
    host.ok("define", host.write("web.cfg", silent(tiny, "web")))
    usual_s = measured(host, "start", "web")
    host.ok("destroy", "web")
    for attempt in range(times):
        code = interrupted(host, chance.uniform(0, 1.2 * usual_s), "start", "web")
        host.start()
        domain = host.domain("web")
        assert domain["state"] in ("off", "running")
        if domain["state"] == "off":
            assert code != 0, f"attempt {attempt}: it was told as started, and is off"
            assert not host.guests()
            host.ok("start", "web")
        assert list(host.guests()) == [host.domain("web")["pid"]]
        host.ok("destroy", "web")


@pytest.mark.parametrize("times", [pytest.param(50, marks=pytest.mark.long)])
def test_a_refresh_leaves_one_guest_that_goes_on_in_the_old_process_or_in_the_new(
    real_host: Host, tiny: TinyImage, times: int
) -> None:
    host, chance = real_host, random.Random(SEED)
    host.ok("volume", "create", "default/web", "--size", "24M", "--format", "qcow2")
    disk = 'disk = ["default/web,,xvda,rw"]'
    host.ok("create", host.write("web.cfg", pvh(tiny, "web", vif="net=none", more=disk)))
    with watch(host, "web") as console:
        console.until(READY)
        console.does("dd if=/dev/urandom of=/tmp/a bs=64k count=64", "cp /tmp/a /dev/vda", "sync")
    usual_s = measured(host, "refresh", "web")
    moved = 0
    for attempt in range(times):
        before = host.domain("web")["pid"]
        interrupted(host, chance.uniform(0, 1.2 * usual_s), "refresh", "web")
        host.start()
        assert runs(host, "web")
        moved += host.domain("web")["pid"] != before
        with watch(host, "web") as console:
            console.does(f"sync; echo {attempt} > /tmp/b; dd if=/tmp/b of=/dev/vda bs=64k seek=100 conv=notrunc")
            console.does("dd if=/dev/vda bs=64k count=64 of=/tmp/c; cmp /tmp/a /tmp/c && echo same-$((1+1))")
            assert b"same-2" in console.output[console.output.rfind(b"/tmp/c &&") :], console.tail()
            assert console.output.count(READY) == 1, "it was not started anew"
    print(f"{moved} of {times} had moved when wirtd was killed")
    host.ok("destroy", "web")
    host.assert_nothing_left()
