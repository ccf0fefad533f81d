"""`make fuzz`: every decoder, and `message`, for a while against what libFuzzer thinks of, a process each.

`message` is the whole way of one with headers: compression, the choice of a format, an event's time, the decoder.
A finding is an exception other than DecodeError, a broken promise (`tests/ingest/promises.py`), more than 100 ms of CPU
time for one message (of at most 64 KiB; unfolded ones in proportion), new series or not, or more memory than ten times
the message, beside the samples made of it and what the table of series keeps. The messages that were found are in
build/fuzz/<name>, with what was learnt (the corpus), from which the next run goes on.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

from tests.fuzz.seeds import golden, messages, seeds
from tests.fuzz.subjects import MESSAGE, names

_BUILD = Path("build/fuzz")
_LONGEST = ((8192, 0.75), (65_536, 0.25))
"""Bytes of a message, and their share of the time: long ones take their time, and short ones try more."""
_DONE = re.compile(r"^Done (\d+) runs in \d+ second", re.MULTILINE)


def fuzz(name: str, seconds: int) -> bool:
    """Fuzz one subject; whether it kept its promises. Prints one line, and the findings."""
    folder = _BUILD / name
    corpus = folder / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    own = seeds()
    for payload in messages(own) if name == MESSAGE else (*own.get(name, ()), *golden()):
        (corpus / sha256(payload).hexdigest()[:16]).write_bytes(payload)
    done = 0
    for longest, share in _LONGEST:
        with (folder / "log").open("w") as log:
            command = [
                *(sys.executable, "-m", "tests.fuzz.target", name, str(corpus)),
                *(f"-max_total_time={round(seconds * share)}", f"-max_len={longest}"),
                *(f"-artifact_prefix={folder}/", "-print_final_stats=1"),
            ]
            status = subprocess.run(command, stdout=log, stderr=subprocess.STDOUT, check=False).returncode
        text = (folder / "log").read_text(errors="replace")
        if status:
            _say(f"{name:>14}: FOUND: see {folder}/log")
            _say("\n".join(text.splitlines()[-30:]))
            return False
        done += sum(map(int, _DONE.findall(text)))
    _say(f"{name:>14}: {done:,} messages in {seconds} s, no finding")
    return True


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def main() -> None:
    """Fuzz those named, or all."""
    parser = argparse.ArgumentParser(prog="make fuzz", description=__doc__)
    parser.add_argument("formats", nargs="*", default=names())
    parser.add_argument("--seconds", type=int, default=600, help="for each (default: 600)")
    given = parser.parse_args()
    kept = [fuzz(name, given.seconds) for name in given.formats]
    sys.exit(0 if all(kept) else 1)


if __name__ == "__main__":
    main()
