"""Mails, sent by a thread in the background."""

from __future__ import annotations

import queue
import threading


class Mailer:
    """Sends what is in its queue, in the order of arrival; addresses without an @ go to `refused`."""

    def __init__(self) -> None:
        self.queue: queue.Queue[tuple[str, str] | None] = queue.Queue()
        self.sent: list[tuple[str, str]] = []
        self.refused: list[str] = []
        self.thread = threading.Thread(target=self.work, daemon=True)

    def work(self) -> None:
        while (mail := self.queue.get()) is not None:
            address, text = mail
            if "@" not in address:
                self.refused.append(address)
            else:
                self.sent.append((address, text))

    def send(self, address: str, text: str) -> None:
        self.queue.put((address, text))

    def stop(self) -> None:
        self.queue.put(None)
        self.thread.join()
