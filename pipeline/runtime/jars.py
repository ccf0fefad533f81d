"""The jars of the embedded Apache Kafka: locked in the package, fetched once, verified on every start.

`kafka-jars.lock.toml` (jgo's lock format) names every jar with its SHA-256. The jars live in the user's cache,
in a folder named after the lock file's content, so that two releases of this program never share a set:

    $DURI_CACHE, else $XDG_CACHE_HOME/duri, else ~/.cache/duri
    └── kafka-<version>-<digest of the lock file>/
        ├── *.jar
        ├── start-*         made by `broker_faststart.py`
        └── .lock           held while jars are installed

To move to another Kafka, run `python -m pipeline.runtime.jars lock VERSION` and commit the lock file.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import sys
import tempfile
import tomllib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.errors import EmbeddedBrokerError

if TYPE_CHECKING:
    from jgo.maven import MavenContext

LOCK_FILE = Path(__file__).with_name("kafka-jars.lock.toml")
"""The committed lock file."""

KAFKA = "org.apache.kafka:kafka_2.13"
LOG_BINDING = "org.apache.logging.log4j:log4j-slf4j-impl"

START_CACHE = "start-"
"""Beginning of the names of files made from the jars."""

Progress = Callable[[str, int, int], None]
"""Called as `progress(what, done, total)` from the caller's thread, only when there is something to wait for."""

_AT_ONCE = 6  # each jar costs two short requests: latency, not bandwidth, is what takes the time
_REMEDY = (
    "Any one of these helps: (1) let this machine reach Maven Central (the usual proxy variables are honoured); "
    "(2) name a mirror in jgo's settings file, as `central = ADDRESS` under [repositories]; "
    "(3) have Maven put the jars into its local repository with your own settings.xml: "
    "`mvn dependency:get -Dartifact=COORDINATE` for this one and every other that is reported; "
    "(4) use your own broker: --bootstrap HOST:PORT or DURI_BOOTSTRAP."
)


@dataclass(frozen=True, slots=True)
class Jar:
    """One locked jar."""

    group: str
    artifact: str
    version: str
    sha256: str

    @property
    def name(self) -> str:
        """File name in the cache."""
        return f"{self.artifact}-{self.version}.jar"

    @property
    def coordinate(self) -> str:
        """Maven coordinate, `group:artifact:version`."""
        return f"{self.group}:{self.artifact}:{self.version}"


def cache_dir() -> Path:
    """Where downloads are kept: $DURI_CACHE, else $XDG_CACHE_HOME/duri, else ~/.cache/duri."""
    if own := os.environ.get("DURI_CACHE"):
        return Path(own).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache").expanduser() / "duri"


def read_lock(lock_file: Path = LOCK_FILE) -> tuple[Jar, ...]:
    """Every jar of the lock file, in class-path order.

    Raises:
        EmbeddedBrokerError: the lock file is missing, is not TOML, or has a jar without a checksum.
    """
    try:
        locked = tomllib.loads(lock_file.read_text(encoding="utf-8"))["dependencies"]
        return tuple(Jar(d["groupId"], d["artifactId"], d["version"], d["sha256"]) for d in locked)
    except (OSError, ValueError, KeyError) as error:
        raise EmbeddedBrokerError(f"{lock_file}: not a usable lock file of Kafka's jars: {error!r}") from error


def jar_folder(lock_file: Path = LOCK_FILE) -> Path:
    """The folder in the cache that holds exactly the jars of this lock file.

    Raises:
        EmbeddedBrokerError: the lock file cannot be read.
    """
    jars = read_lock(lock_file)
    digest = hashlib.sha256("\n".join(f"{jar.coordinate} {jar.sha256}" for jar in jars).encode()).hexdigest()
    return cache_dir() / f"kafka-{jars[0].version}-{digest[:12]}"


def ensure_jars(progress: Progress | None = None, *, lock_file: Path = LOCK_FILE) -> tuple[Path, ...]:
    """Paths of all jars in class-path order, fetched if need be; each one's SHA-256 has been checked.

    A complete cache needs no network. Safe when several processes call it at the same time: one fetches, the
    others wait.

    Raises:
        EmbeddedBrokerError: a jar cannot be had, or one differs from its checksum; the message says what to do.
    """
    jars, folder = read_lock(lock_file), jar_folder(lock_file)
    if _missing(jars, folder):
        try:
            with _exclusive(folder):
                _install(_missing(jars, folder), folder, progress)  # another process may have been first
        except OSError as error:
            raise EmbeddedBrokerError(
                f"cannot write Kafka's jars to the cache: {error}. Set DURI_CACHE to a folder that can be written."
            ) from error
    return tuple(folder / jar.name for jar in jars)


def _missing(jars: Sequence[Jar], folder: Path) -> list[Jar]:
    """Jars that are not in the folder; raises on one that is there and is not what was locked."""
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:  # hashing releases the GIL
        present = pool.map(lambda jar: _verified(folder / jar.name, jar), jars)
        return [jar for jar, there in zip(jars, present, strict=True) if not there]


def _verified(path: Path, jar: Jar) -> bool:
    try:
        with path.open("rb") as stream:
            found = hashlib.file_digest(stream, "sha256").hexdigest()
    except FileNotFoundError:
        return False
    if found != jar.sha256:
        raise EmbeddedBrokerError(
            f"{path}: the checksum differs from the lock file (SHA-256 {found}, locked {jar.sha256}). "
            "The jar was damaged or replaced: delete it, and it will be fetched again."
        )
    return True


@contextmanager
def _exclusive(folder: Path) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)  # the kernel lets go of it when the process dies
        yield


def _install(jars: Sequence[Jar], folder: Path, progress: Progress | None) -> None:
    """Fetch into a staging folder, verify, rename into place: whoever looks sees a whole jar or none.

    What an interrupted run has renamed stays, so the next one goes on from there.
    """
    for left_over in folder.glob("staging-*"):
        shutil.rmtree(left_over, ignore_errors=True)  # a killed run's; we hold the lock, so nobody writes there
    for derived in folder.glob(f"{START_CACHE}*"):
        derived.unlink(missing_ok=True)  # it is tied to the files that it was made from
    if jars and progress is not None:
        progress("fetching Apache Kafka", 0, len(jars))
    with tempfile.TemporaryDirectory(prefix="staging-", dir=folder) as staging, ThreadPoolExecutor(_AT_ONCE) as pool:
        context = _maven(Path(staging))
        waiting = {pool.submit(_fetch, jar, context): jar for jar in jars}
        try:
            for done, future in enumerate(as_completed(waiting), start=1):
                jar = waiting[future]
                future.result().replace(folder / jar.name)
                if progress is not None:
                    progress(jar.name, done, len(jars))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)  # those under way are waited for on leaving
            raise


def _maven(repository: Path) -> MavenContext:
    # Here and not above: jgo takes 0.2 s to import, and a complete cache does without it.
    from jgo.config import GlobalSettings  # noqa: PLC0415
    from jgo.maven import MavenContext  # noqa: PLC0415

    context = MavenContext(repo_cache=repository)
    context.remote_repos.update(GlobalSettings.load().repositories)  # `central` in jgo's settings is a mirror
    return context


def _fetch(jar: Jar, context: MavenContext) -> Path:
    if (own := _from_local_repository(jar, context.repo_cache)) is not None:
        return own
    try:
        path: Path = context.create_dependency(jar.coordinate).artifact.resolve()
    except (RuntimeError, OSError, AssertionError) as error:  # jgo's; requests raises OSErrors
        raise EmbeddedBrokerError(
            f"cannot fetch {jar.coordinate} for the embedded broker: {error}. {_REMEDY}"
        ) from error
    _verified(path, jar)
    return path


def _from_local_repository(jar: Jar, staging: Path) -> Path | None:
    """A copy of Maven's own jar, if it has the locked one."""
    from jgo.config import GlobalSettings  # noqa: PLC0415

    place = Path(*jar.group.split("."), jar.artifact, jar.version, jar.name)
    found: Path = GlobalSettings.load().repo_cache / place
    try:
        _verified(found, jar)
        copy = staging / f"local-{jar.name}"
        shutil.copyfile(found, copy)
    except (OSError, EmbeddedBrokerError):
        return None
    return copy


def write_lock(version: str, lock_file: Path = LOCK_FILE) -> int:
    """Resolve Kafka `version` (such as `4.2.0`) with its run-time jars, write the lock file, return the jars' number.

    Jars are fetched to a temporary folder to take their checksums.

    Raises:
        EmbeddedBrokerError: Maven has no such version or cannot be reached.
    """
    from jgo.env import LockFile  # noqa: PLC0415

    with tempfile.TemporaryDirectory() as scratch:
        try:
            locked = LockFile.from_resolved_dependencies(_resolve(_maven(Path(scratch)), version))
        except (RuntimeError, OSError, AssertionError) as error:
            raise EmbeddedBrokerError(f"cannot resolve {KAFKA}:{version}: {error}") from error
    locked.save(lock_file)
    return len(locked.dependencies)


def _resolve(context: MavenContext, version: str) -> list[Any]:
    # The log binding is added after resolving, by hand: jgo treats every root as a bill of materials, and with
    # log4j's as a second root kafka-clients came out as 3.9.1. All that the binding needs Kafka has already.
    roots, transitive = context.resolver.resolve([context.create_dependency(f"{KAFKA}:{version}")])
    jars = [*roots, *(d for d in transitive if d.scope in {"compile", "runtime"})]
    log4j = next(d.version for d in jars if d.artifactId == "log4j-core")
    return [*jars, context.create_dependency(f"{LOG_BINDING}:{log4j}")]


def _main(arguments: Sequence[str]) -> int:
    if len(arguments) != 2 or arguments[0] != "lock":
        sys.stderr.write("usage: python -m pipeline.runtime.jars lock VERSION\n")
        return 2
    count = write_lock(arguments[1])
    sys.stdout.write(f"{LOCK_FILE.name}: {count} jars\n")
    return 0


if __name__ == "__main__":
    sys.exit(_main(sys.argv[1:]))
