"""Features of bands, held to what they are said to be, and the bands themselves."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.offline.band_features import NAMES, SLOT_MS, BandFeatures
from models.offline.bands import Bands, Judged, beyond

MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
MONDAY = 1_767_571_200_000
Floats = npt.NDArray[np.float64]


def series(seed: int, frames: int, services: int = 2, signals: int = 2) -> Floats:
    rng = np.random.default_rng(seed)
    values = rng.normal(10, 1, size=(frames, services, signals)) * rng.uniform(0.1, 1e6, size=(services, signals))
    values[rng.random(values.shape) < 0.1] = np.nan
    return values


def run(features: BandFeatures, values: Floats, start: npt.NDArray[np.int64], step: int) -> tuple[Floats, Floats]:
    """What is judged, and from what, frame by frame."""
    away, tables = [], []
    for at, value in zip(start.tolist(), values, strict=True):
        away.append(features.advance(value, at, step))
        tables.append(features.table())
    return np.array(away), np.array(tables)


def plainly(values: Floats, start: npt.NDArray[np.int64], step: int, at: int) -> tuple[float, list[float]]:
    """Of one signal, from all its past at once: z of the frame at this place, and its table without the calendar."""
    width, hour = max(SLOT_MS, step), max(HOUR, step)
    slot = start[at] // width * width
    before, when = values[start < slot], start[start < slot]
    known = before[np.isfinite(before)]
    if not len(known) or slot_start(start, slot) - when[np.isfinite(before)][0] < DAY:
        return np.nan, [np.nan] * 5
    mean = deviation = 0.0
    for count, value in enumerate(known, start=1):
        rate, off = max(1 / count, step / (3.5 * DAY)), value - mean
        deviation += rate * ((abs(off) if count > 1 else 0.0) - deviation)
        mean += rate * off
    scale = 1.5 * deviation + 1e-3 * abs(mean) + 1e-9

    def between(first: float, wide: int) -> float:
        inside = before[(when >= first) & (when < first + wide)]
        inside = inside[np.isfinite(inside)]
        return float(np.float32(inside.mean())) if len(inside) else np.nan

    def around(ago: int) -> float:
        place = (slot + width / 2 - ago) / hour - 0.5
        first, share = int(np.floor(place)), place - np.floor(place)
        a, b = between(first * hour, hour), between((first + 1) * hour, hour)
        if not share:
            return a if np.isfinite(a) else b
        both = a + share * (b - a)
        nearer, other = (b, a) if share >= 0.5 else (a, b)
        return next((one for one in (both, nearer, other) if np.isfinite(one)), np.nan)

    slots = [between(slot - ago * width, width) for ago in range(1, max(HOUR // width, 1) + 1)]
    there = [one for one in slots if np.isfinite(one)]
    past = [slots[0], slots[-1], around(DAY), around(7 * DAY), float(np.mean(there)) if there else np.nan]
    return (values[at] - mean) / scale, [(one - mean) / scale for one in past]


def slot_start(start: npt.NDArray[np.int64], slot: int) -> int:
    """Start of the first frame in a slot: features are made when it comes."""
    return int(start[start >= slot][0])


@settings(max_examples=12, deadline=None)
@given(
    seed=st.integers(0, 1000),
    step=st.sampled_from([5, 10, 30, 7, 90]),
    late=st.integers(0, 2000),
    lost=st.integers(0, 30),
)
def test_features_are_what_they_are_said_to_be(seed: int, step: int, late: int, lost: int) -> None:
    """Those of frames with gaps, and frames that never came, are what the whole past gives at once."""
    frames = 9 * DAY // (max(step, 30) * MINUTE)
    start = MONDAY + late * MINUTE // step * step + np.arange(frames) * step * MINUTE
    rng = np.random.default_rng(seed)
    came = np.sort(rng.choice(frames, frames - lost, replace=False))
    start, values = start[came], series(seed, frames)[came]
    away, tables = run(BandFeatures(2, 2), values, start, step * MINUTE)
    for at in rng.integers(0, len(start), 25).tolist():
        z, past = plainly(values[:, 1, 0], start, step * MINUTE, at)
        assert away[at, 1, 0] == pytest.approx(z, rel=1e-6, abs=1e-6, nan_ok=True)
        assert tables[at, 1, 0, 4:9] == pytest.approx(past, rel=1e-4, abs=1e-4, nan_ok=True)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000), cuts=st.lists(st.integers(0, 399), max_size=4), joined=st.integers(0, 399))
def test_batches_and_restarts_change_nothing(seed: int, cuts: list[int], joined: int) -> None:
    """Services alone or together, a service that comes later, snapshots anywhere: the same to the bit."""
    values, start = series(seed, 400), MONDAY + np.arange(400) * 10 * MINUTE
    values[:joined, 1] = np.nan
    alone = [run(BandFeatures(1, 2), values[:, one : one + 1], start, 10 * MINUTE) for one in (0, 1)]
    features, away, tables = BandFeatures(1, 2), [], []
    for at in range(400):
        if at == joined:
            features.grow(2)
        if at in cuts:
            after = BandFeatures(features.services, 2)
            after.restore(features.snapshot())
            features = after
        found = features.advance(values[at, : features.services], int(start[at]), 10 * MINUTE)
        away.append(np.concatenate([found, np.full((2 - len(found), 2), np.nan)]))
        table = features.table()
        tables.append(np.concatenate([table, np.full((2 - len(table), 2, len(NAMES)), np.nan)]))
    for one in (0, 1):
        assert np.array_equal(np.array(away)[:, one], alone[one][0][:, 0], equal_nan=True)
        assert np.array_equal(np.array(tables)[:, one], alone[one][1][:, 0], equal_nan=True)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 1000), cut=st.integers(0, 1499))
def test_a_slot_is_predicted_from_what_came_before_it(seed: int, cut: int) -> None:
    """What comes in a slot or later changes no feature of it."""
    values, start = series(seed, 1500, 1), MONDAY + np.arange(1500) * 2 * MINUTE
    _, whole = run(BandFeatures(1, 2), values, start, 2 * MINUTE)
    changed = values.copy()
    changed[cut:] = 1e6
    _, part = run(BandFeatures(1, 2), changed, start, 2 * MINUTE)
    same = start // SLOT_MS <= start[cut] // SLOT_MS
    assert np.array_equal(part[same], whole[same], equal_nan=True)


def test_the_past_is_in_the_present_scale() -> None:
    """A day ago is as far from the mean of now as a value of now would be if it were the same."""
    start = MONDAY + np.arange(3 * 24) * HOUR
    values = (np.sin(2 * np.pi * np.arange(len(start)) / 24) + 5)[:, None, None]
    away, tables = run(BandFeatures(1, 1), values, start, HOUR)
    assert np.isnan(away[:24]).all()
    assert np.allclose(tables[24:, 0, 0, NAMES.index("a_day_ago")], away[24:, 0, 0], atol=1e-5)


def test_a_service_that_went_is_forgotten() -> None:
    """Who gets its row is as new, in the middle of a slot too."""
    values, start = series(1, 600), MONDAY + np.arange(600) * 5 * MINUTE
    features = BandFeatures(2, 2)
    run(features, values[:401], start[:401], 5 * MINUTE)
    features.evict(np.array([0], dtype=np.int32))
    away, tables = run(features, values[401:], start[401:], 5 * MINUTE)
    assert np.isnan(away[:, 0]).all()
    assert np.isnan(tables[:, 0]).all()
    assert np.isfinite(away[:, 1]).any()


class Usual:
    """Ends a deviation around what is usual, of whatever."""

    def __init__(self) -> None:
        self.estimators_ = [_Constant(end) for end in (-1.0, 0.0, 1.0)]


class _Constant:
    def __init__(self, end: float) -> None:
        self._end = end

    def predict(self, rows: Floats) -> Floats:
        return np.full(len(rows), self._end)


def test_who_comes_or_goes_in_a_slot_has_no_band_in_it() -> None:
    """A row that is another service's now, and one that is new; the others keep theirs, to the next slot."""
    values, start = series(1, 700), MONDAY + np.arange(700) * 5 * MINUTE
    values[:] = np.nan_to_num(values)
    features, bands = BandFeatures(2, 2), Bands(Usual())
    for at in range(401):
        judged = bands.judge(features, features.advance(values[at], int(start[at]), 5 * MINUTE))
    assert np.isfinite(judged.band).all()
    features.evict(np.array([0], dtype=np.int32))
    bands.forget()
    features.grow(3)
    more = np.concatenate([values[401], values[401, :1]])
    after = bands.judge(features, features.advance(more, int(start[401]), 5 * MINUTE))
    assert features.slot == start[400] // SLOT_MS
    assert np.isnan(after.band[[0, 2]]).all()
    assert np.isnan(after.services()[[0, 2]]).all()
    assert np.array_equal(after.band[1], judged.band[1])


def test_another_shape_or_step_is_refused() -> None:
    """Rather than numbers of something else."""
    features = BandFeatures(1, 2)
    features.advance(np.zeros((1, 2)), MONDAY, MINUTE)
    with pytest.raises(ValueError, match=r"not those of \(1, 2\) services"):
        features.advance(np.zeros((1, 3)), MONDAY + MINUTE, MINUTE)
    with pytest.raises(ValueError, match="they were 60000 ms before"):
        features.advance(np.zeros((1, 2)), MONDAY + MINUTE, 2 * MINUTE)


def test_distances_are_in_halves_of_the_band() -> None:
    """Above in the upper half, below in the lower one; the ends are 1 and -1; the furthest signal counts."""
    band = np.tile([-1.0, 0.0, 3.0], (1, 4, 1))
    away = beyond(np.array([[3.0, -1.0, -4.0, np.nan]]), band)
    assert np.array_equal(away, [[1.0, -1.0, -4.0, np.nan]], equal_nan=True)
    assert Judged(away, band, np.array([True])).services() == pytest.approx([4.0])


def test_another_day_is_told_of_what_is_usual() -> None:
    """Of values that were changed a day ago a band is predicted from what they were; the hour before is as it is."""
    values, start = series(0, 2 * 1440), MONDAY + np.arange(2 * 1440) * MINUTE
    changed = values.copy()
    changed[600:660] *= 3
    found = {}
    for name, frames, usual in (("as it was", values, None), ("changed", changed, None), ("told", changed, values)):
        features = BandFeatures(2, 2)
        for at, frame in enumerate(frames[: 1440 + 631]):
            features.advance(frame, int(start[at]), MINUTE, None if usual is None else usual[at])
        found[name] = features.in_units(features.table()[..., 4:9])
    yesterday, others = NAMES.index("a_day_ago") - 4, [0, 1, 4]
    assert found["told"][..., yesterday] == pytest.approx(found["as it was"][..., yesterday], rel=1e-6)
    assert (found["changed"][..., yesterday] > 1.5 * found["told"][..., yesterday]).all()
    assert np.array_equal(found["told"][..., others], found["changed"][..., others])
