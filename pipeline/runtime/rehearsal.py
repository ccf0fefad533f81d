"""Each stage's kernels, run once on next to nothing: so that none is compiled while a message waits for it.

numba compiles a kernel at its first call and keeps it on disk; a later process loads it, which takes a moment. What is
called here is what the stages call, with arrays of the same types: through a stage where a message gets there, directly
where only days of history would.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Final

import numpy as np

from models.forecast import straight
from models.multivariate.covariance import Covariance
from models.multivariate.learner import Multivariate
from pipeline.advise.history import MIN_POINTS, History
from pipeline.batch import ARROW_CONTENT_TYPE, SOURCE_HEADER, encode_batch, make_batch
from pipeline.detect.stage import DetectStage
from pipeline.ingest.stage import IngestStage
from pipeline.series import Kind, Series
from pipeline.stage import LogRecord

if TYPE_CHECKING:
    from collections.abc import Iterator

    from models.multivariate.learner import MultivariateSettings
    from pipeline.detect.configuration import DetectConfiguration
    from pipeline.settings import IngestSettings
    from pipeline.stage import Headers

_MOMENT_MS: Final = 1_767_225_600_000
_TOPIC: Final = "rehearsal"
_SOURCE: Final = f"{_TOPIC}/0"
_FRAMES: Final = 3

# One message of each form that a kernel reads, as docs/formats.md has them.
_JSON: Final = b'{"name": "up", "labels": {"service": "shop"}, "ts": 1767225600000, "value": 1.5}'
_INFLUX: Final = b'mem,host=web-1 free=23342170112i,used=3u,share=96.19,ok=true,note="a" 1767225600000000000\n'
_OTLP: Final = base64.b64decode(  # a sum and a gauge
    "CpsBChgKFgoMc2VydmljZS5uYW1lEgYKBHNob3ASfwoKCghjaGVja291dBJMChRodHRwLnNlcnZlci5yZXF1ZXN0cxoJe3JlcXVlc3R9OikKIx"
    "kAAPrtUXKGGDERAAAAAAAAADoPCgZtZXRob2QSBQoDR0VUEAIYARIjCgtxdWV1ZS5kZXB0aCoUChIZAAD67VFyhhghAAAAAAAAEEA="
)
_EXPONENTIAL: Final = base64.b64decode(  # increments of an exponential histogram, on either side of zero
    "Cm0KGAoWCgxzZXJ2aWNlLm5hbWUSBgoEc2hvcBJREk8KB2xhdGVuY3kaAXNSQQo9EQAYg6U6coYYGQAA+u1RcoYYIQYAAAAAAAAAKQAAAAAAAP"
    "A/MAI5AQAAAAAAAABCBwgDEgMBAAJKAxIBAhAB"
)
_REMOTE_WRITE: Final = base64.b64decode("MLwKLgoOCghfX25hbWVfXxICdXAKCgoDam9iEgNhcGkSEAkAAAAAAADwPxCA0Oq2tzM=")
_REMOTE_WRITE_2: Final = base64.b64decode(
    "OJgiACIIX19uYW1lX18iAnVwIgNqb2IiA2FwaSocCgQBAgMEEhAJAAABAjDwPxCA0Oq2tzMqAggC"
)
MESSAGES: Final = (_JSON, _INFLUX, _OTLP, _EXPONENTIAL, _REMOTE_WRITE, _REMOTE_WRITE_2)


def rehearse_ingest(settings: IngestSettings) -> None:
    """Run the kernels that ingest calls: a message of each scanned form twice, once new and once known."""
    stage = IngestStage(settings, source=_SOURCE, samples_partitions=1)
    for message in MESSAGES:
        for offset in range(2):
            stage.step([LogRecord(_TOPIC, 0, offset, _MOMENT_MS, None, message)])


def rehearse_detect(configuration: DetectConfiguration) -> None:
    """Run the kernels that detect calls: a few frames of two series, a snapshot, and what judges signals together."""

    def fresh() -> DetectStage:
        return DetectStage(configuration, input_topic=_TOPIC, partition=0, sources=[_SOURCE])

    stage = fresh()
    for record in _batches(configuration.frame_ms):
        stage.step([record])
    fresh().restore(stage.snapshot())
    _rehearse_together(configuration.multivariate)


def _batches(frame_ms: int) -> Iterator[LogRecord]:
    every = (
        Series(name="http_requests_total", labels={"service": "shop", "status": "200"}, kind=Kind.COUNTER, unit=""),
        Series(name="queue_depth", labels={"service": "shop"}, kind=Kind.GAUGE, unit=""),
        # A column of two services' rows is another type to numba than one of a single row.
        Series(name="queue_depth", labels={"service": "warehouse"}, kind=Kind.GAUGE, unit=""),
    )
    identities = np.array([one.identity() for one in every], dtype=np.uint64)
    labels = [one.canonical() for one in every]
    headers: Headers = [("content-type", ARROW_CONTENT_TYPE.encode()), (SOURCE_HEADER, _SOURCE.encode())]
    for number in range(2 * _FRAMES):  # two samples a frame: a rate needs both
        ts = _MOMENT_MS + number * frame_ms // 2
        batch = make_batch(
            identities, np.full(len(every), ts, dtype=np.int64), np.array([10.0 * number, 5.0, 5.0]), labels
        )
        yield LogRecord(_TOPIC, 0, number, ts, None, encode_batch(batch), headers)


def _rehearse_together(settings: MultivariateSettings | None) -> None:
    """In the stage, learners must have known each signal for hours before their vector is judged."""
    slots, values = np.zeros(1, dtype=np.int32), np.ones((1, 2))
    learner = Multivariate(["a", "b"], settings)
    learner.grow(1)
    learner.score_learn(slots, values, np.zeros((1, 2)))
    usual = Covariance(2, 1.0)
    usual.grow(1)
    usual.explain(slots, values)


def rehearse_advise() -> None:
    """Run the kernels that advise calls: the lines through a history."""
    history = History(["any"], 60_000, 2 * MIN_POINTS, 1)
    history.trends("any", ["any"])
    values, seconds, _ = history.matrix("any")
    straight(values, seconds)
