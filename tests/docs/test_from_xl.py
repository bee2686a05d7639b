"""The page for those who come from xl says of no verb that it is missing which is there."""

from __future__ import annotations

import re
from pathlib import Path

from wirt.cli.verbs import VERBS

PAGE = Path(__file__).resolve().parents[2] / "docs/from-xl.md"


def test_what_is_said_to_be_missing_is() -> None:
    found = re.search(r"^Not there yet: (.*?)\. `wirt VERB`", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert found is not None
    missing = re.findall(r"`([a-z-]+)`", found[1])
    assert "dump-core" in missing
    assert not set(missing) & set(VERBS)
