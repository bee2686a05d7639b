"""Cards that are put into a stored text and taken out again leave the rest of it, and each other, as they were."""

from __future__ import annotations

from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wirt.config.xlcfg import load, read_card, with_card, without_card
from wirt.model.devices import devids
from wirt.model.errors import ConfigError

HEAD = '# mine\nname = "a"   # hers\ntype = "pvh"\nkernel = "/k"\n'


def numbers(text: str) -> dict[int, str | None]:
    vifs = load(text, file="a", cwd=PurePosixPath("/")).config.vifs
    return {devid: vif.bridge for devid, vif in zip(devids(vifs), vifs, strict=True)}


def test_a_card_is_added_to_a_text_that_had_none_and_taken_out_again() -> None:
    text = with_card(HEAD, "bridge=br1", 0)
    assert text == HEAD + 'vif = ["bridge=br1,devid=0"]\n'
    assert without_card(text, 0) == HEAD


def test_those_that_stay_keep_their_numbers() -> None:
    text = HEAD + 'vif = ["bridge=a", "bridge=b,devid=7", "bridge=c"]\n'
    assert numbers(without_card(text, 0)) == {7: "b", 1: "c"}
    assert without_card(text, 1) == HEAD + 'vif = ["bridge=a", "bridge=b,devid=7"]\n'


def test_a_list_that_several_assignments_make_stays_one_list() -> None:
    text = HEAD + 'vif = ["bridge=a"]\nvif += ["bridge=b"]\nmemory = 128\n'
    assert numbers(with_card(text, "bridge=c", 2)) == {0: "a", 1: "b", 2: "c"}
    assert with_card(text, "", 2).startswith(HEAD)


@given(st.lists(st.sampled_from(["", "bridge=x", "devid=1", "mtu=1400"]), max_size=6), st.data())
def test_no_card_changes_another_cards_number(entries: list[str], data: st.DataObject) -> None:
    if entries.count("devid=1") > 1:
        return
    text = HEAD + "vif = [" + ", ".join(f'"{entry}"' for entry in entries) + "]\n"
    before = numbers(text)
    if before:
        gone = data.draw(st.sampled_from(sorted(before)))
        assert numbers(without_card(text, gone)) == {k: v for k, v in before.items() if k != gone}
    new = data.draw(st.integers(0, 20).filter(lambda number: number not in before))
    assert numbers(with_card(text, "bridge=new", new)) == {**before, new: "new"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["bridge=br0", "mac=nonsense"], "no MAC address"),
        (["brige=br0"], "did you mean bridge"),
        (["rate=fast"], "no rate"),
        (["devid=70000"], "from 0 to 65535"),
        (["nonsense"], "no flag"),
    ],
)
def test_what_is_wrong_with_a_word_is_said_with_its_place(words: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as error:
        read_card(words)
    assert error.value.key == "vif"
    assert error.value.column is not None


def test_words_with_commas_are_several() -> None:
    entry, vif = read_card(["bridge=br0,mtu=1400", "model=e1000"])
    assert (entry, vif.mtu, vif.model) == ("bridge=br0,mtu=1400,model=e1000", 1400, "e1000")
