from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from pipeline.registry.store import Store
from tests.installation import duri
from tests.registry.trained import trained

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A registry with three versions."""
    store = Store(str(tmp_path / "registry"))
    for seed in (1, 2, 3):
        store.add(*trained(seed))
    return tmp_path / "registry"


MOVES = ("shadow", "withdraw", "promote", "revert")


def models(place: Path, *words: str) -> subprocess.CompletedProcess[str]:
    alone = ("--registry-only",) if words[0] in MOVES else ()
    return duri("models", *words, *alone, "--registry", place)


def versions(place: Path) -> list[str]:
    return Store(str(place)).versions("services")


def test_list_shows_versions_and_stages(place: Path) -> None:
    """The newest last, with the stage that holds each; JSON for programs."""
    a, b, c = versions(place)
    assert models(place, "promote", "services", b, "--force", "--why", "test").returncode == 0
    assert models(place, "shadow", "services", c).returncode == 0
    found = json.loads(models(place, "list", "--json").stdout)
    assert [(one["version"], one["stages"]) for one in found] == [(a, []), (b, ["live"]), (c, ["shadow"])]
    told = models(place, "list").stdout
    assert a in told
    assert "live" in told


def test_an_empty_registry_is_no_error(tmp_path: Path) -> None:
    """It says so."""
    done = models(tmp_path / "none", "list")
    assert done.returncode == 0
    assert done.stdout.startswith(f"{tmp_path / 'none'} holds no models yet; `duri train")


def test_promote_asks_the_gate(place: Path) -> None:
    """Never in the shadow: exit status 1 and what is wanted; with --force and a reason it is done and recorded."""
    a, *_ = versions(place)
    refused = models(place, "promote", "services", a)
    assert refused.returncode == 1
    assert "is not promoted: 0 h in the shadow, 24 h are wanted" in refused.stderr
    assert json.loads(models(place, "show", "services", "--json").stdout) == []
    done = models(place, "promote", "services", a, "--force", "--why", "first model", "--who", "ada")
    assert done.returncode == 0
    assert f"services: {a} is live, move 1 by ada, against the gate" in done.stdout
    [move] = json.loads(models(place, "show", "services", "--json").stdout)
    assert (move["who"], move["why"], move["forced"]) == ("ada", "first model", True)


def test_revert_is_one_command(place: Path) -> None:
    """Live is what was live before."""
    a, b, _ = versions(place)
    for version in (a, b):
        assert models(place, "promote", "services", version, "--force", "--why", "test").returncode == 0
    assert f"{a} is live again" in models(place, "revert", "services").stdout
    moves = models(place, "show", "services").stdout
    assert "revert" in moves


def test_show_and_diff(place: Path) -> None:
    """A version's manifest, and in what two of them differ."""
    a, b, _ = versions(place)
    assert json.loads(models(place, "show", "services", a).stdout)["training"]["seed"] == 1
    differ = json.loads(models(place, "diff", "services", a, b, "--json").stdout)
    assert differ["training.seed"] == {"before": 1, "after": 2}
    assert "kind" not in differ
    assert "training.seed" in models(place, "diff", "services", a, b).stdout


def test_verify_of_nothing_says_what_to_do(tmp_path: Path) -> None:
    """An empty registry is in order; how the first model comes is said, as `list` says it."""
    done = models(tmp_path, "verify")
    assert done.returncode == 0
    assert "holds no models yet" in done.stdout
    assert "duri train" in done.stdout


def test_verify_finds_damage(place: Path) -> None:
    """Exit status 0 while all is well, else 1 with the version and what to do."""
    assert models(place, "verify").returncode == 0
    a, *_ = versions(place)
    (place / "models" / "services" / a / "model.skops").write_bytes(b"")
    done = models(place, "verify", "services")
    assert done.returncode == 1
    assert a in done.stdout
    assert "register it again" in done.stdout


def test_prune_keeps_what_a_pointer_holds(place: Path) -> None:
    """The oldest is live and stays; of the others the newest; --dry-run removes nothing."""
    a, b, c = versions(place)
    assert models(place, "promote", "services", a, "--force", "--why", "test").returncode == 0
    assert f"{b} would be removed" in models(place, "prune", "services", "--keep", "1", "--dry-run").stdout
    assert versions(place) == [a, b, c]
    assert f"{b} removed" in models(place, "prune", "services", "--keep", "1").stdout
    assert versions(place) == [a, c]


@pytest.mark.parametrize("words", [("prune", "nobody"), ("show", "nobody"), ("verify", "nobody")])
def test_a_model_that_nobody_registered(place: Path, words: tuple[str, ...]) -> None:
    """Exit status 1, its name, and the command that shows those there are."""
    done = models(place, *words)
    assert done.returncode == 1
    assert "no model is called nobody; `duri models list`" in done.stderr
