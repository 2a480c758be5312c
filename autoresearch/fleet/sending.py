"""Send a person's own text to a member, in pieces.

A piece is read when the one before it has arrived, so that neither side holds more than one in memory. The member names
no file: it gets those of the parcel.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from autoresearch.errors import DataError
from autoresearch.fleet import member
from autoresearch.tasks.gpt.data.delivery import Parcel

PIECE_BYTES = 4 * 2**20  # below what Dask warns of

AskMember = Callable[..., str]  # calls one of the member's functions with what is given, and returns its answer


def send(parcel: Parcel, ask: AskMember, piece_bytes: int = PIECE_BYTES) -> str:
    """Send the files of a parcel, and return why that is impossible; "" where the member has all.

    Raises what `ask` raises, e.g. where the member has gone.
    """
    try:
        for name, offset, piece in _pieces(parcel, piece_bytes):
            if refused := ask(member.take_piece, name, offset, piece):
                return refused
    except DataError as error:
        return str(error)
    return ask(member.keep_data)


def _pieces(parcel: Parcel, piece_bytes: int) -> Iterator[tuple[str, int, bytes]]:
    """Yield name of the file, offset and content of each piece. Raises DataError where a file cannot be read."""
    for name in parcel.files:
        try:
            with (parcel.folder / name).open("rb") as file:
                while piece := file.read(piece_bytes):
                    yield name, file.tell() - len(piece), piece
        except OSError as error:
            raise DataError(f"the coordinator cannot read its data: {error}") from error
