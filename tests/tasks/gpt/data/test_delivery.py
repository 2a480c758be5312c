"""A person's prepared text on its way from a coordinator to a member."""

from __future__ import annotations

import contextlib
import json
import resource
import shutil
from collections.abc import Callable
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoresearch import jsonable
from autoresearch.errors import DataError
from autoresearch.paths import DataFolder
from autoresearch.tasks.gpt.data import corpus, delivery, prepared
from autoresearch.tasks.gpt.data.delivery import Delivery, Parcel
from autoresearch.tasks.gpt.data.prepared import Meta, StoredFile
from autoresearch.tasks.gpt.data.profiles import PROFILES
from autoresearch.tasks.gpt.workbench import choose_data
from testbed.toy import META, OWN_FILES, write_own_data, write_toy_data

NAME = "notes-1f0c39ae"
PIECE = 50_000  # bytes


@pytest.fixture
def there(tmp_path: Path) -> Path:
    """Return the prepared folder of a coordinator."""
    return write_own_data(tmp_path / "coordinator" / "data" / NAME / "tiny")


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """Return the cache of a member."""
    return tmp_path / "member"


def parcel(folder: Path) -> Parcel:
    made = delivery.parcel(folder)
    assert made is not None
    return made


def begin(there: Path, cache: Path, said: Callable[[str], object] = print) -> Delivery:
    return Delivery.begin(parcel(there).manifest, prepared.load_meta(there).fingerprint, said, cache)


def carry(there: Path, to: Delivery) -> None:
    for name in parcel(there).files:
        content = (there / name).read_bytes()
        for offset in range(0, len(content), PIECE):
            to.take(name, offset, content[offset : offset + PIECE])


def left(cache: Path) -> list[str]:
    """Return the files below a member's cache."""
    return sorted(path.relative_to(cache).as_posix() for path in cache.rglob("*") if path.is_file())


def test_a_member_keeps_what_it_was_sent_and_finds_it_by_its_fingerprint(there: Path, cache: Path) -> None:
    said: list[str] = []
    arriving = begin(there, cache, said.append)
    carry(there, arriving)
    fingerprint = prepared.load_meta(there).fingerprint
    assert delivery.find(fingerprint, "tiny", cache) is None, "before it is whole"
    folder = arriving.finish()
    assert all((folder / name).read_bytes() == (there / name).read_bytes() for name in OWN_FILES)
    assert left(cache) == sorted(f"data/{NAME}@fleet/tiny/{name}" for name in (*OWN_FILES, "meta.json"))
    assert delivery.find(fingerprint, "tiny", cache) == f"{NAME}@fleet"
    assert delivery.find(fingerprint, "mac", cache) is None and delivery.find("0" * 16, "tiny", cache) is None
    assert said[0] == "data: receiving notes-1f0c39ae from the coordinator, 0.3 MB"
    assert said[1:-1] == [f"data: 0.{tenth} of 0.3 MB received" for tenth in (1, 2, 3)]
    assert said[-1] == f"data: kept in {folder} for the nights to come"


def test_a_night_may_begin_on_what_was_sent(there: Path, cache: Path) -> None:
    carry(there, arriving := begin(there, cache))
    folder = arriving.finish()
    assert corpus.locate(f"{NAME}@fleet", "tiny", cache) == folder
    meta = prepared.verify(folder, quick=True)
    assert meta.fingerprint == prepared.load_meta(there).fingerprint and meta.dataset == folder.parent.name
    assert meta.train_mtime_ns == (folder / "train.u16").stat().st_mtime_ns, "it is not read again at each start"
    assert corpus.changed_source(meta) is None
    again = parcel(folder)
    assert (again.title, again.files) == (NAME, parcel(there).files), "a member may lead the next night"
    assert Delivery.begin(again.manifest, meta.fingerprint, print, cache).name == NAME


def test_a_night_there_begins_with_the_constants_of_the_profile_and_not_with_sent_ones(
    there: Path, cache: Path
) -> None:
    meta = replace(jsonable.from_json(Meta, parcel(there).manifest), constants={"DEPTH": "evil()"}, budget_s=1e9)
    arriving = Delivery.begin(jsonable.to_json(meta).decode(), meta.fingerprint, print, cache)
    assert arriving.meta.constants == PROFILES["tiny"].constants and arriving.meta.budget_s == 60


def test_a_night_that_names_no_data_takes_what_a_person_prepared(there: Path, cache: Path) -> None:
    own = write_toy_data(cache / "data" / "toy" / "tiny")
    carry(there, arriving := begin(there, cache))
    arriving.finish()
    assert choose_data(None, "tiny", lambda line: None, cache) == own


def test_no_path_of_the_coordinator_is_told(there: Path) -> None:
    assert "secret" in (there / "meta.json").read_text() and "secret" not in parcel(there).manifest
    assert sorted(parcel(there).files) == sorted(OWN_FILES)


@pytest.mark.parametrize("name", ["climbmix", "tinystories", "stdlib"])
def test_what_every_machine_prepares_for_itself_is_not_sent(tmp_path: Path, name: str) -> None:
    assert delivery.parcel(write_own_data(tmp_path / "data" / name / "tiny")) is None


def test_what_nothing_vouches_for_is_not_sent(tmp_path: Path) -> None:
    assert delivery.parcel(write_toy_data(tmp_path / "data" / "toy" / "tiny")) is None


def vouched(meta: Meta, **changes: Any) -> Meta:
    """Change a description, and give it the fingerprint that fits."""
    changed = replace(meta, **changes)
    hashes = {name: entry.sha256 for name, entry in changed.all_files().items()}
    return replace(changed, fingerprint=prepared.fingerprint(asdict(changed), hashes))


EXTRA = StoredFile(bytes=1, sha256="0" * 64)
WRONG: list[tuple[str, Callable[[Meta], Meta]]] = [
    ("not the name of a data set", lambda m: replace(m, dataset="../../evil")),
    ("not the name of a data set", lambda m: replace(m, dataset="/etc")),
    ("not the name of a data set", lambda m: replace(m, dataset=".hidden")),
    ("not the name of a data set", lambda m: replace(m, dataset="a\nb")),
    ("not the name of a data set", lambda m: replace(m, dataset="")),
    ("not the name of a data set", lambda m: replace(m, profile="../../x")),
    ("its files are", lambda m: vouched(m, files={**m.files, "../../evil": EXTRA})),
    ("its files are", lambda m: vouched(m, files={**m.files, "meta.json": EXTRA})),
    ("its files are", lambda m: vouched(m, files={})),
    ("its files are", lambda m: vouched(m, splits={**m.splits, "train": replace(m.splits["val"], file="/etc/x")})),
    ("its files are", lambda m: vouched(m, splits={**m.splits, "more": m.splits["val"]})),
    ("its files are", lambda m: vouched(m, splits={**m.splits, "val": m.splits["test"], "test": m.splits["val"]})),
    ("no size and hash", lambda m: vouched(m, files={**m.files, "tokenizer.json": StoredFile(bytes=9)})),
    ("no size and hash", lambda m: vouched(m, files={**m.files, "tokenizer.json": replace(EXTRA, bytes=-1)})),
    ("which are not 2,000 rows", lambda m: vouched(m, seq_len=65)),
    ("not those of its fingerprint", lambda m: replace(m, eval_tokens=1)),
    ("not those of its fingerprint", lambda m: replace(m, files={**m.files, "tokenizer.json": EXTRA})),
    ("its layout is 1", lambda m: replace(m, version=1)),
]


@pytest.mark.parametrize(("why", "change"), WRONG)
def test_a_wrong_description_is_refused_before_anything_is_written(
    there: Path, cache: Path, why: str, change: Callable[[Meta], Meta]
) -> None:
    meta = change(jsonable.from_json(Meta, parcel(there).manifest))
    with pytest.raises(DataError, match=why):
        Delivery.begin(jsonable.to_json(meta).decode(), meta.fingerprint, print, cache)
    assert not cache.exists()


def test_data_of_another_fingerprint_than_the_night_s_is_refused(there: Path, cache: Path) -> None:
    with pytest.raises(DataError, match=r"the coordinator offers data [0-9a-f]{16}, not 0000"):
        Delivery.begin(parcel(there).manifest, "0000", print, cache)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(st.text() | JSON.map(json.dumps))
def test_any_other_text_is_refused_as_a_description(text: str) -> None:
    with pytest.raises(DataError, match="description of its data cannot be read"):
        Delivery.begin(text, "0000", print, Path("/nowhere"))


@given(st.sampled_from([field.name for field in fields(Meta)]), JSON)
def test_whatever_stands_in_a_field_is_told_in_words(name: str, value: object) -> None:
    raw = json.dumps({**jsonable.plain(META), name: value})
    with contextlib.suppress(jsonable.MalformedError):
        assert delivery.problem(jsonable.from_json(Meta, raw))


@pytest.mark.parametrize(
    "name", ["../evil", "/etc/passwd", "eval/../../evil", "meta.json", "", "train.u16/", "./train.u16", "a\0b", "eval"]
)
def test_a_file_that_the_description_does_not_name_is_refused(there: Path, cache: Path, name: str) -> None:
    arriving = begin(there, cache)
    with pytest.raises(DataError, match="which is no file of its data"):
        arriving.take(name, 0, b"x")
    assert left(cache) == []


@pytest.mark.parametrize(("offset", "length"), [(-1, 1), (1, 1), (0, 300_000), (10**12, 1)])
def test_bytes_out_of_turn_are_refused(there: Path, cache: Path, offset: int, length: int) -> None:
    arriving = begin(there, cache)
    with pytest.raises(DataError, match=r"of train\.u16 out of turn"):
        arriving.take("train.u16", offset, bytes(length))
    assert left(cache) == []


def test_a_piece_may_come_twice(there: Path, cache: Path) -> None:
    arriving = begin(there, cache)
    arriving.take("tokenizer.json", 0, (there / "tokenizer.json").read_bytes()[:9])
    carry(there, arriving)
    arriving.take("train.u16", PIECE, (there / "train.u16").read_bytes()[PIECE : 2 * PIECE])
    assert prepared.verify(arriving.finish()).dataset == f"{NAME}@fleet"


@pytest.mark.parametrize("damage", ["changed", "missing"])
def test_what_did_not_arrive_as_it_was_prepared_is_refused_and_removed(there: Path, cache: Path, damage: str) -> None:
    arriving = begin(there, cache)
    if damage == "changed":
        carry(there, arriving)
        arriving.take("eval/test.u16", 0, b"\xff\xff")
    with pytest.raises(DataError, match=r"did not arrive .*: [\d,]+ of [\d,]+ bytes, SHA-256 \w{12}, not \w") as told:
        arriving.finish()
    assert str(told.value).startswith(f"{'eval/test.u16' if damage == 'changed' else 'token_bytes.npy'} of {NAME} ")
    assert left(cache) == []


def test_a_delivery_that_was_cut_off_begins_again_and_leaves_nothing(there: Path, cache: Path) -> None:
    arriving = begin(there, cache)
    arriving.take("train.u16", 0, b"x" * PIECE)
    assert left(cache) == [f"data/{NAME}@fleet/.tiny.partial/train.u16"]
    begin(there, cache)
    assert left(cache) == []
    arriving.take("train.u16", 0, b"x" * PIECE)
    (cache / "data" / "mine" / ".tiny.partial").mkdir(parents=True)  # a preparation that may be continued
    delivery.discard_leftovers(cache)
    assert left(cache) == [] and (cache / "data" / "mine" / ".tiny.partial").exists()


def test_what_was_kept_is_sent_again_where_it_is_damaged_or_its_text_has_changed(there: Path, cache: Path) -> None:
    carry(there, arriving := begin(there, cache))
    (folder := arriving.finish()).joinpath("eval", "val.u16").write_bytes(b"")
    fingerprint = prepared.load_meta(there).fingerprint
    assert delivery.find(fingerprint, "tiny", cache) is None
    with pytest.raises(DataError, match=r"sent again when this machine joins the fleet: .*loop\.py join"):
        prepared.load_meta(folder)
    carry(there, arriving := begin(there, cache))
    assert arriving.finish() == folder and delivery.find(fingerprint, "tiny", cache) == f"{NAME}@fleet"
    assert not [path for path in folder.parent.iterdir() if path != folder]


def test_too_little_room_is_told_before_the_first_byte(there: Path, cache: Path) -> None:
    meta = jsonable.from_json(Meta, parcel(there).manifest)
    rows = 10**12
    train = replace(meta.splits["train"], rows=rows, bytes=rows * (meta.seq_len + 1) * 2)
    huge = vouched(meta, splits={**meta.splits, "train": train})
    with pytest.raises(DataError, match=r"takes 130,000,000\.\d MB, and [\d,.]+ MB are free\. Make room"):
        Delivery.begin(jsonable.to_json(huge).decode(), huge.fingerprint, print, cache)
    assert left(cache) == []


def test_a_disk_that_fills_on_the_way_is_told_in_a_sentence(there: Path, cache: Path) -> None:
    arriving, before = begin(there, cache), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2 * PIECE, before[1]))
    try:
        with pytest.raises(DataError, match=r"after 0\.1 of 0\.3 MB\. Make room and join again, or set AUTORESEARCH_"):
            carry(there, arriving)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert left(cache) == []


def test_a_cache_that_cannot_be_written_to_is_told_in_a_sentence(there: Path, cache: Path) -> None:
    cache.write_text("a file")
    with pytest.raises(DataError, match="Set AUTORESEARCH_CACHE to a folder that you can write to, and join again"):
        begin(there, cache)


def test_a_member_that_was_sent_away_meanwhile_leaves_nothing(there: Path, cache: Path) -> None:
    arriving = begin(there, cache)
    arriving.take("train.u16", 0, b"x")
    arriving.abandon()
    assert left(cache) == []
    with pytest.raises(DataError):
        arriving.take("train.u16", 1, b"x")
    shutil.rmtree(cache)


def test_own_text_of_a_real_preparation_is_sent(own: tuple[Path, Path], cache: Path) -> None:
    assert prepared.load_meta(own[1]).splits.keys() == {"train", "val", "test"}
    carry(own[1], arriving := begin(own[1], cache))
    assert prepared.verify(arriving.finish()).documents == prepared.load_meta(own[1]).documents
    assert str(own[0]) not in arriving.data.meta.read_text()


def test_splits_are_the_files_of_a_prepared_folder() -> None:
    data = DataFolder(Path("x"))
    assert {split: data.name(data.rows(split)) for split in delivery.SPLITS} == delivery.SPLITS
