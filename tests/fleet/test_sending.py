from __future__ import annotations

from pathlib import Path

import pytest

from autoresearch.fleet import member
from autoresearch.fleet.sending import AskMember, send
from autoresearch.tasks.gpt.data import delivery
from autoresearch.tasks.gpt.data.delivery import Parcel
from testbed.toy import write_own_data

PIECE = 100_000


class Collecting:
    """Member that takes pieces up to a number."""

    def __init__(self, limit: int = 1000) -> None:
        self.files: dict[str, bytes] = {}
        self.sizes: list[int] = []
        self.limit, self.kept = limit, False

    def __call__(self, what: AskMember, *given: object) -> str:
        if what is member.keep_data:
            self.kept = True
            return ""
        assert what is member.take_piece
        name, offset, piece = given
        if len(self.sizes) == self.limit:
            return "the disk is full"
        assert isinstance(name, str) and isinstance(piece, bytes) and offset == len(self.files.get(name, b""))
        self.files[name] = self.files.get(name, b"") + piece
        self.sizes.append(len(piece))
        return ""


@pytest.fixture
def parcel(tmp_path: Path) -> Parcel:
    made = delivery.parcel(write_own_data(tmp_path / "data" / "notes-1f0c39ae" / "tiny"))
    assert made is not None
    return made


def test_the_files_of_the_data_go_in_pieces_and_nothing_else(parcel: Parcel) -> None:
    (parcel.folder / "diary.txt").write_text("private")
    there = Collecting()
    assert send(parcel, there, PIECE) == "" and there.kept
    assert there.files == {name: (parcel.folder / name).read_bytes() for name in parcel.files}
    assert max(there.sizes) == PIECE < max(parcel.files.values()) and len(there.sizes) == 7


def test_a_member_that_refuses_gets_no_more(parcel: Parcel) -> None:
    there = Collecting(limit=2)
    assert send(parcel, there, PIECE) == "the disk is full"
    assert len(there.sizes) == 2 and not there.kept


def test_a_file_that_the_coordinator_cannot_read_is_told(parcel: Parcel) -> None:
    (parcel.folder / "eval" / "test.u16").unlink()
    there = Collecting()
    assert send(parcel, there).startswith("the coordinator cannot read its data: ") and not there.kept


def test_a_lost_connection_is_not_taken_for_a_file_that_cannot_be_read(parcel: Parcel) -> None:
    def lost(what: AskMember, *given: object) -> str:
        raise ConnectionResetError("the network is down")

    with pytest.raises(ConnectionResetError):
        send(parcel, lost)
