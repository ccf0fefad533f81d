"""Asking a lab that stands to turn a knob."""

from __future__ import annotations

import asyncio
import socket
import stat
import tempfile
from contextlib import ExitStack
from typing import TYPE_CHECKING

import asyncpg
import pytest
from typer.testing import CliRunner

import lab.cli
from lab.backends import LabError
from lab.turning import Turned, Wish, ask, listening, the_only_lab

if TYPE_CHECKING:
    from pathlib import Path

WISH = Wish(service="duri_core", commands=[{"via": "env", "run": "DB_POOL_SIZE=20"}])
DONE = Turned(ran=["DB_POOL_SIZE=20"], left=[], knobs={"duri_core DB_POOL_SIZE": ["10", "20"]})


def asked(folder: Path, wish: Wish, answer: Turned | Exception) -> tuple[Turned, list[Wish]]:
    """What the asker gets of a lab that answers so, and what the lab was asked."""
    heard: list[Wish] = []

    async def grant(one: Wish) -> Turned:
        heard.append(one)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def talk() -> Turned:
        async with listening(folder, grant):
            return await ask(folder, wish)

    return asyncio.run(talk()), heard


def test_a_wish_arrives_and_what_was_done_comes_back(tmp_path: Path) -> None:
    assert asked(tmp_path, WISH, DONE) == (DONE, [WISH])


def test_what_the_lab_refuses_is_an_error_of_the_asker(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="no such service: duri_heart"):
        asked(tmp_path, WISH, LabError("no such service: duri_heart"))


def test_a_command_that_a_server_does_not_take_is_told(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="unrecognized configuration parameter"):
        asked(tmp_path, WISH, asyncpg.UndefinedObjectError('unrecognized configuration parameter "nonsense"'))


def test_only_its_owner_may_open_the_socket(tmp_path: Path) -> None:
    """Its commands run as whoever started the lab."""

    async def grant(_: Wish) -> Turned:
        return DONE

    async def mode() -> int:
        async with listening(tmp_path, grant) as path:
            return stat.S_IMODE(path.stat().st_mode)

    assert asyncio.run(mode()) == 0o600


@pytest.mark.parametrize("said", [b"", b'{"service": "duri_core"}\n'])
def test_who_leaves_without_an_answer_leaves_no_error_behind(tmp_path: Path, said: bytes) -> None:
    """Looking for labs that run knocks at each; an asker may be stopped by Ctrl-C."""
    errors: list[dict[str, object]] = []
    left = asyncio.Event()

    async def grant(_: Wish) -> Turned:
        await left.wait()
        return DONE

    async def knock() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: errors.append(context))
        async with listening(tmp_path, grant) as path:
            _, writer = await asyncio.open_unix_connection(path)
            writer.write(said)
            await writer.drain()
            await asyncio.sleep(0.05)
            writer.transport.abort()
            await asyncio.sleep(0.05)
            left.set()
            await asyncio.sleep(0.05)

    asyncio.run(knock())
    assert errors == []


def test_a_lab_that_is_gone_does_not_answer(tmp_path: Path) -> None:
    asked(tmp_path, WISH, DONE)
    with pytest.raises(LabError, match="no lab answers"):
        asyncio.run(ask(tmp_path, WISH))


def test_the_lab_is_found_where_one_runs_and_named_where_several_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A lab that was killed has left its socket behind, and is none."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    folders = [tmp_path / name for name in ("duri-lab-a", "duri-lab-b", "duri-lab-killed")]
    with ExitStack() as stack:
        for folder in folders:
            folder.mkdir()
        killed = socket.socket(socket.AF_UNIX)
        killed.bind(str(folders[2] / "turn"))
        killed.close()
        with pytest.raises(LabError, match="duri lab up"):
            the_only_lab()
        for folder in folders[:2]:
            listener = stack.enter_context(socket.socket(socket.AF_UNIX))
            listener.bind(str(folder / "turn"))
            listener.listen()
            if folder == folders[0]:
                assert the_only_lab() == folder
        with pytest.raises(LabError, match=r"duri-lab-a.*duri-lab-b"):
            the_only_lab()


@pytest.mark.parametrize("arguments", [[], ["r-1", "--command", "env: A=1"], ["--command", "DB_POOL_SIZE=20"]])
def test_what_says_no_command_is_refused(arguments: list[str]) -> None:
    """Neither a recommendation nor a command, or both; or a command without what runs it."""
    assert CliRunner().invoke(lab.cli.lab, ["turn", *arguments]).exit_code == 2
