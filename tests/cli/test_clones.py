"""``wirt template`` and ``wirt clone``: what is asked of the server, what is shown, what is refused before."""

from __future__ import annotations

from pathlib import Path

import pytest

from .canned import Canned, problem
from .conftest import Run

TEMPLATE = {
    "name": "base",
    "uuid": "0-0",
    "type": "pvh",
    "memory_mib": 512,
    "vcpus": 2,
    "volumes": ["default/base"],
    "clones": ["default/web-1", "default/web-2"],
    "created_at": 0.0,
}
LISTED = """\
Name  Mem  VCPUs  Volumes       Clones' volumes
base  512  2      default/base  2
"""
SHOWN = """\
template      : base
uuid          : 0-0
type          : pvh
memory        : 512 MiB
vcpus         : 2
volume        : default/base
stands on it  : default/web-1
stands on it  : default/web-2

  name = "base"
"""


def job(**result: object) -> tuple[int, object]:
    fields = {"id": "1", "kind": "clone", "subject": "web", "state": "done", "progress": 1.0, "message": ""}
    return 200, {**fields, "steps": [], "created_at": 0.0, "result": result}


def clones(*names: str, lost: tuple[str, ...] = ()) -> tuple[int, object]:
    return job(domains=[{"name": name, "uuid": "0"} for name in names], lost=list(lost), linked=True, seeds=[])


def test_templates_are_listed_and_shown(wirtd: Canned, wirt: Run) -> None:
    wirtd.routes["GET /v1/templates"] = (200, {"api": "v1", "templates": [TEMPLATE]})
    wirtd.routes["GET /v1/templates/base"] = (200, {**TEMPLATE, "config": 'name = "base"\n'})
    assert wirt("template", "list").out == LISTED
    assert wirt("template", "info", "base").out == SHOWN


def test_no_templates_is_said(wirtd: Canned, wirt: Run) -> None:
    wirtd.routes["GET /v1/templates"] = (200, {"api": "v1", "templates": []})
    shown = wirt("template", "list")
    assert (shown.out, "wirt template create" in shown.err) == ("", True)


@pytest.mark.parametrize(
    ("words", "route", "body"),
    [
        (("create", "web", "--name", "base"), "POST /v1/templates", {"domain": "web", "name": "base"}),
        (("destroy", "base"), "POST /v1/templates/base/destroy", None),
        (("destroy", "base", "--delete-volumes"), "POST /v1/templates/base/destroy?delete-volumes=1", None),
        (("to-domain", "base"), "POST /v1/templates/base/to-domain", None),
    ],
)
def test_words_about_a_template_become_a_request(
    wirtd: Canned, wirt: Run, words: tuple[str, ...], route: str, body: object
) -> None:
    wirtd.routes[route] = job()
    assert wirt("template", *words).code == 0
    assert (wirtd.asked()[-1], wirtd.requests[-1].body) == (route, body)


def test_words_about_clones_become_a_request(wirtd: Canned, wirt: Run, tmp_path: Path) -> None:
    key, data = tmp_path / "id.pub", tmp_path / "data"
    key.write_text("ssh-ed25519 AAAA ann\n")
    data.write_text("#cloud-config\n")
    wirtd.routes["POST /v1/clones"] = clones("web-1", "web-2", lost=("ip=192.0.2.1",))
    words = ("--count", "2", "--full", "--pool", "fast", "--ssh-key", str(key), "--user-data", str(data))
    done = wirt("clone", "base", "web", *words)
    assert (done.code, done.out) == (0, "web-1\nweb-2\n")
    assert "only one card can have it: ip=192.0.2.1" in done.err
    assert "where the guest has cloud-init, and only there" in done.err
    assert wirtd.requests[-1].body == {
        "source": "base",
        "new": "web",
        "count": 2,
        "linked": False,
        "pool": "fast",
        "identity": True,
        "ssh_keys": ["ssh-ed25519 AAAA ann"],
        "user_data": "#cloud-config\n",
    }


def test_without_identity_it_is_said_that_nothing_becomes_new(wirtd: Canned, wirt: Run) -> None:
    wirtd.routes["POST /v1/clones"] = clones("web")
    done = wirt("clone", "base", "web", "--no-identity", "--linked")
    assert "are those of the source" in done.err
    assert (wirtd.requests[-1].body["identity"], wirtd.requests[-1].body["linked"]) == (False, True)


def test_a_clone_that_does_not_start_keeps_no_other_from_it(wirtd: Canned, wirt: Run) -> None:
    wirtd.routes["POST /v1/clones"] = clones("web-1", "web-2")
    wirtd.routes["POST /v1/domains/web-1/start"] = problem(507, "no memory is left")
    wirtd.routes["POST /v1/domains/web-2/start"] = job()
    done = wirt("clone", "base", "web", "--count", "2", "--start")
    assert (done.code, done.out) == (1, "web-1\nweb-2\n")
    assert "no memory is left" in done.err
    assert wirtd.asked()[-1] == "POST /v1/domains/web-2/start"


@pytest.mark.parametrize(
    "words",
    [
        ("template", "create"),
        ("template", "list", "base"),
        ("template", "info", "base", "--delete-volumes"),
        ("template", "destroy", "base", "--name", "x"),
        ("clone", "base"),
        ("clone", "base", "web", "--full", "--linked"),
        ("clone", "base", "web", "--user-data", "/none"),
        ("clone", "base", "web", "--count", "many"),
    ],
)
def test_a_wrong_command_line_is_told_before_anything_is_asked(
    wirtd: Canned, wirt: Run, words: tuple[str, ...]
) -> None:
    assert wirt(*words).code == 2
    assert wirtd.requests == []
