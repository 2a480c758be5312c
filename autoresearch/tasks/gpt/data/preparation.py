"""Turn text into a finished data folder in stages: tokenizer, held-out rows, training rows, meta.json.

Each stage writes its files and is then recorded in state.json; a later call skips the recorded stages. Nothing here
depends on time or chance: the same text gives the same bytes.
"""

from __future__ import annotations

import contextlib
import hashlib
import heapq
import io
import math
import shutil
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from autoresearch import jsonable
from autoresearch.errors import DataError
from autoresearch.files import write_atomic
from autoresearch.paths import DataFolder
from autoresearch.records import Say
from autoresearch.system.invocation import command
from autoresearch.tasks.gpt.data import tokenizer as bpe
from autoresearch.tasks.gpt.data.packing import first_tokens, pack_rows, write_rows, write_shuffled
from autoresearch.tasks.gpt.data.prepared import DataRequest, Meta, Split, StoredFile, Unfinished, fingerprint
from autoresearch.tasks.gpt.data.profiles import Profile
from autoresearch.tasks.gpt.data.sources import HELD_OUT, Corpus, text_hash
from autoresearch.tasks.gpt.data.tokenizer import Tokens

EVALUATION_SHARE = 0.05  # largest share of the corpus that one held-out split may be
MIN_EVAL_ROWS = 8  # with fewer, val_bpb is mostly noise
SAMPLE_CHARACTERS = 8  # characters of held-out text kept for each token wanted; English needs 3 to 5
ORDER_SEED = 0  # of the order in which training rows are stored

Record = dict[str, Any]


class Preparation:
    """A data set in the making, in a folder of its own; `request` says which data set it is."""

    def __init__(self, source: Corpus, profile: Profile, folder: Path, request: DataRequest, report: Say) -> None:
        self.source, self.profile, self.folder, self.request, self.report = source, profile, folder, request, report
        self.data = DataFolder(folder)
        self.stages: dict[str, Record] = {}

    def run(self, offline: bool = False) -> None:
        """Run the stages that are not recorded yet.

        Raises DataError; what is finished then stays for the next call.
        """
        self._resume()
        if not all(map(self._finished, ("tokenizer", "held_out", "train"))):
            self.source.fetch(self.report, offline)
        self._stage("tokenizer", self._train_tokenizer)
        self.tokenizer = bpe.load(self.data.tokenizer)
        self._stage("held_out", self._hold_out)
        self._stage("train", self._pack_training_rows)
        self._write_json(self.data.meta, self._meta())

    # --- the stages and their record ---

    def _resume(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            found = jsonable.from_json(Unfinished, self.data.state.read_bytes())
            if found.request == self.request:
                self.stages = {name: dict(stage) for name, stage in found.stages.items()}
        if self.stages:
            self.report(f"continuing after: {', '.join(self.stages)}")
        else:
            shutil.rmtree(self.folder, ignore_errors=True)
            self.data.rows("val").parent.mkdir(parents=True)

    def _stage(self, name: str, work: Callable[[], Record]) -> None:
        if not self._finished(name):
            self.stages[name] = work()
            self._write_json(self.data.state, Unfinished(request=self.request, stages=self.stages))

    def _finished(self, stage: str) -> bool:
        files: dict[str, Record] = self.stages.get(stage, {}).get("files", {})
        sizes = [(self.folder / name, entry["bytes"]) for name, entry in files.items()]
        return bool(sizes) and all(path.is_file() and path.stat().st_size == size for path, size in sizes)

    def _write_json(self, path: Path, value: Meta | Unfinished) -> None:
        write_atomic(path, jsonable.to_json(value, indent=1) + b"\n")

    # --- text -> tokenizer ---

    def _train_tokenizer(self) -> Record:
        read = TextCounter()
        with progress("training the tokenizer", "characters") as advance:
            texts = self._some(text for _, text in self.source.documents(("train",)))
            try:
                trained = bpe.train(read.counted(texts, advance), self.profile.vocab_size)
            finally:  # they may be why there is too little text
                for line in self.source.remarks():
                    self.report(line)
        table = io.BytesIO()
        np.save(table, trained.token_bytes())
        files = {self.data.tokenizer: trained.to_json().encode(), self.data.token_bytes: table.getvalue()}
        self.report(f"tokenizer: {trained.vocab_size:,} tokens, trained on {read}")
        return {
            "files": {self.data.name(path): self._stored(path, content) for path, content in files.items()},
            "documents": read.documents,
            "characters": read.characters,
        }

    def _some(self, texts: Iterator[str]) -> Iterator[str]:
        """Pass texts on. Raises DataError where there are none."""
        count = 0
        for count, text in enumerate(texts, 1):  # noqa: B007
            yield text
        if not count:
            raise DataError(f"{self.source.title} holds no text to train on")

    def _stored(self, path: Path, content: bytes) -> Record:
        write_atomic(path, content)
        return {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}

    # --- held-out text -> val and test rows ---

    def _hold_out(self) -> Record:
        samples = self._held_out_samples()
        encoded = {split: list(self.tokenizer.encode(sample.texts())) for split, sample in samples.items()}
        tokens = sum(len(document) for documents in encoded.values() for document in documents)
        characters = sum(sample.characters for sample in samples.values())
        corpus_tokens = int(self.stages["tokenizer"]["characters"] * tokens / max(1, characters))
        wanted = self.profile.eval_tokens // self.profile.seq_len
        limit = min(wanted, int(EVALUATION_SHARE * corpus_tokens) // self.profile.seq_len)
        rows = {split: self._first_rows(documents, limit) for split, documents in encoded.items()}
        count = self._evaluation_rows(min(map(len, rows.values())), corpus_tokens)
        self.report(f"val, test: {count:,} rows of {self.profile.seq_len:,} tokens each")
        if count < wanted:
            self.report(
                f"a small corpus of {corpus_tokens:,} tokens: {count * self.profile.seq_len:,} evaluation tokens"
                f" instead of {self.profile.eval_tokens:,}: what was held out, and at most {EVALUATION_SHARE:.0%}"
            )
        files = {}
        for split in rows:
            path = self.data.rows(split)
            files[self.data.name(path)] = write_rows(path, rows[split][:count])
        return {"files": files, "rows": count, "characters_per_token": characters / tokens}

    def _held_out_samples(self) -> dict[str, HashSample]:
        samples = {split: HashSample(self.profile.eval_tokens * SAMPLE_CHARACTERS) for split in ("val", "test")}
        with progress("reading held-out text", "characters") as advance:
            for split, text in self.source.documents(tuple(samples)):
                samples[split].add(text)
                advance(len(text))
        return samples

    def _first_rows(self, documents: list[Tokens], count: int) -> list[Tokens]:
        length = self.profile.seq_len + 1
        return list(islice(pack_rows(first_tokens(documents, count * length), length), count))

    def _evaluation_rows(self, available: int, corpus_tokens: int) -> int:
        """Reduce `available` rows to a number that fills batches of one size, which may be below the profile's.

        Raises DataError for fewer than MIN_EVAL_ROWS.
        """
        if available < MIN_EVAL_ROWS:
            needed = int(MIN_EVAL_ROWS * self.profile.seq_len / HELD_OUT)
            raise DataError(
                f"{self.source.title} is too small for the profile {self.profile.name}: {corpus_tokens:,} tokens in"
                f" {self.stages['tokenizer']['documents']:,} documents hold out {available} rows of"
                f" {self.profile.seq_len:,} tokens, and {MIN_EVAL_ROWS} are needed: about {needed:,} tokens in all. Add"
                f" text, or run: {command('prepare.py --dataset stdlib')}"
            )
        return available - available % self._batches(available)

    def _batches(self, rows: int) -> int:
        return math.ceil(rows / self.profile.eval_rows)

    # --- training text -> rows ---

    def _pack_training_rows(self) -> Record:
        read = TextCounter()
        path, length = self.data.train, self.profile.seq_len + 1
        expected = self.stages["tokenizer"]["characters"] / self.stages["held_out"]["characters_per_token"]
        with progress("packing", "tokens", min(expected, self.profile.train_tokens)) as advance:
            texts = (text for _, text in self.source.documents(("train",)))
            documents = first_tokens(self.tokenizer.encode(read.counted(texts)), self.profile.train_tokens)
            record = write_shuffled(path, watched(pack_rows(documents, length), advance), length, ORDER_SEED)
        if not record["rows"]:
            raise DataError(f"{self.source.title}: {read} do not fill one training row of {length} tokens")
        self.report(f"train: {record['rows']:,} rows, {record['rows'] * length / 1e6:.1f}M tokens, from {read}")
        return {"files": {self.data.name(path): record}, "documents": read.documents, "characters": read.characters}

    # --- what the folder says about itself ---

    def _meta(self) -> Meta:
        profile = self.profile
        train, held_out = self.stages["train"], self.stages["held_out"]
        rows = {**train["files"], **held_out["files"]}
        files = self.stages["tokenizer"]["files"]
        numbers = {
            "seq_len": profile.seq_len,
            "vocab_size": self.tokenizer.vocab_size,
            "bos_id": self.tokenizer.bos_id,
            "eval_tokens": held_out["rows"] * profile.seq_len,
            "eval_rows": held_out["rows"] // self._batches(held_out["rows"]),
        }
        content = {name: entry["sha256"] for name, entry in {**files, **rows}.items()}
        return Meta(
            version=self.request["version"],
            dataset=self.source.name,
            argument=self.source.argument,
            source=self.source.title,
            profile=profile.name,
            fingerprint=fingerprint(numbers, content),
            **numbers,
            budget_s=profile.budget_s,
            constants=dict(profile.constants),
            splits={Path(name).stem: Split(file=name, **entry) for name, entry in rows.items()},
            files={name: StoredFile(**entry) for name, entry in files.items()},
            train_mtime_ns=self.data.train.stat().st_mtime_ns,
            documents={
                "train": train["documents"],
                "characters": train["characters"],
                "characters_per_token": round(held_out["characters_per_token"], 3),
            },
            request=self.request,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
        )


class HashSample:
    """The documents of the smallest hashes, up to a number of characters: a random sample that depends on no order."""

    def __init__(self, limit: int) -> None:
        self.limit, self.characters = limit, 0
        self._heap: list[tuple[int, str]] = []  # the largest hash first

    def add(self, text: str) -> None:
        heapq.heappush(self._heap, (-text_hash(text), text))
        self.characters += len(text)
        while self.characters - len(self._heap[0][1]) >= self.limit:
            self.characters -= len(heapq.heappop(self._heap)[1])

    def texts(self) -> list[str]:
        return [text for _, text in sorted(self._heap, reverse=True)]


class TextCounter:
    """The number of documents and of characters that were read through `counted`."""

    def __init__(self) -> None:
        self.documents = self.characters = 0

    def counted(self, texts: Iterator[str], advance: Callable[[float], object] = lambda n: None) -> Iterator[str]:
        for text in texts:
            self.documents += 1
            self.characters += len(text)
            advance(len(text))
            yield text

    def __str__(self) -> str:
        return f"{self.characters / 1e6:.1f}M characters in {self.documents:,} documents"


def watched(rows: Iterator[Tokens], advance: Callable[[float], object]) -> Iterator[Tokens]:
    for row in rows:
        advance(len(row))
        yield row


@contextlib.contextmanager
def progress(label: str, unit: str, total: float | None = None) -> Iterator[Callable[[float], object]]:
    """Show a bar on a terminal, nothing elsewhere; yield the function that moves it by an amount."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    counter = TextColumn("{task.fields[millions]:.1f}M " + unit)
    columns = (TextColumn("{task.description}"), BarColumn(), counter, TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task(label, total=total, millions=0.0)
        done = 0.0

        def advance(amount: float) -> None:
            nonlocal done
            done += amount
            bar.update(task, completed=done, millions=done / 1e6)

        yield advance
