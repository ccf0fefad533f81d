"""A worker in a process of its own, which may kill itself in the middle of a transaction.

python -m tests.runtime.worker_process '{"settings": {…}, "die_at": 7, "where": "offsets"}'
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import signal
import sys
from dataclasses import replace

from aiokafka import AIOKafkaProducer

from pipeline.runtime.children import end_with_parent
from pipeline.runtime.commit import Sender, SnapshotPlace
from pipeline.runtime.logs import configure_logging
from pipeline.runtime.worker import run_worker
from pipeline.settings import Settings
from tests.runtime.toys import FAST, sums_spec

TIMING = replace(FAST, session_timeout_s=2.0)
PLACES = ("offsets", "commit", "committing", "committed")
SNAPSHOT_PLACES = ("blocks", "index", "pointed")


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def arm(die_at: int, where: str) -> None:
    """Die in the transaction of this number: outputs sent, offsets sent, commit requested, or commit answered."""
    transactions = itertools.count(1)
    send_offsets, commit = AIOKafkaProducer.send_offsets_to_transaction, AIOKafkaProducer.commit_transaction

    async def dying_offsets(self, *args):
        self.doomed = next(transactions) == die_at
        if self.doomed and where == "offsets":
            die()
        await send_offsets(self, *args)

    async def dying_commit(self):
        if self.doomed and where == "commit":
            die()
        if self.doomed and where == "committing":
            asyncio.get_running_loop().call_later(0.002, die)
        await commit(self)
        if self.doomed:
            die()

    AIOKafkaProducer.send_offsets_to_transaction = dying_offsets
    AIOKafkaProducer.commit_transaction = dying_commit


def arm_snapshots(die_at: int, where: str) -> None:
    """Die in the snapshot of this number: its blocks sent, its index sent, or pointed to but not yet committed."""
    snapshots = itertools.count(1)
    index, send, commit = SnapshotPlace.index, Sender.send, AIOKafkaProducer.commit_transaction
    doomed = False

    def dying_index(self, *args):
        nonlocal doomed
        doomed = next(snapshots) == die_at
        if doomed and where == "blocks":
            die()
        return index(self, *args)

    async def dying_send(self, *args):
        stored = await send(self, *args)
        if doomed and where == "index":
            die()
        return stored

    async def dying_commit(self):
        if doomed and where == "pointed":
            die()
        await commit(self)

    SnapshotPlace.index, Sender.send, AIOKafkaProducer.commit_transaction = dying_index, dying_send, dying_commit


def tell(address: str) -> None:
    sys.stdout.write(f"{address}\n")
    sys.stdout.flush()


async def main(settings: Settings) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await run_worker(settings, [sums_spec(settings)], stop, on_ready=tell, timing=TIMING)


if __name__ == "__main__":
    end_with_parent()
    order = json.loads(sys.argv[1])
    loaded = Settings.model_validate(order["settings"])
    configure_logging(loaded.runtime)
    if order.get("die_at"):
        (arm_snapshots if order["where"] in SNAPSHOT_PLACES else arm)(order["die_at"], order["where"])
    asyncio.run(main(loaded))
