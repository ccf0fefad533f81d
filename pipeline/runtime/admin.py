"""Questions to the cluster: is it there, which topics has it, how far is a group."""

from __future__ import annotations

import asyncio
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, Self

import structlog
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.admin.records_to_delete import RecordsToDelete
from aiokafka.errors import (
    KafkaConnectionError,
    KafkaError,
    KafkaTimeoutError,
    NodeNotReadyError,
    RequestTimedOutError,
    TopicAuthorizationFailedError,
    for_code,
)

from pipeline.announcing import connecting
from pipeline.errors import BrokerError, BrokerUnavailableError
from pipeline.rights import told
from pipeline.runtime.clients import admin_client
from pipeline.runtime.entrance import shut_out
from pipeline.runtime.outputs import TopicFacts

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from types import TracebackType

    from aiokafka import TopicPartition
    from aiokafka.admin import AIOKafkaAdminClient, NewTopic
    from aiokafka.structs import OffsetAndMetadata

    from pipeline.settings import KafkaSettings

DEFAULT_MAX_MESSAGE_BYTES = 1_048_588
TOPIC_EXISTS = 36

_ANSWER_S = 10.0
_NO_ANSWER = (KafkaConnectionError, KafkaTimeoutError, RequestTimedOutError, NodeNotReadyError)
_LOOK_S = 0.05

log = structlog.get_logger(__name__)


class ClusterAdmin:
    """One administrative connection, an async context manager; entering waits for a broker.

    Raises BrokerUnavailableError where none answers within `wait_s` seconds, and BrokerError at once where one does
    and refuses the certificate or the password. `on_wait` is called once, where the first attempt finds nobody.
    """

    def __init__(
        self, kafka: KafkaSettings, *, wait_s: float = 30.0, on_wait: Callable[[], None] | None = None
    ) -> None:
        self._kafka = kafka
        self._wait_s = wait_s
        self._on_wait = on_wait
        self._client: AIOKafkaAdminClient | None = None

    async def __aenter__(self) -> Self:
        # Who is told by `on_wait` says it himself.
        with connecting(self._kafka.bootstrap) if self._on_wait is None else nullcontext():
            return await self._enter()

    async def _enter(self) -> Self:
        deadline = asyncio.get_running_loop().time() + self._wait_s
        while True:
            client = admin_client(self._kafka)
            try:
                await client.start()
            except (KafkaError, OSError) as error:
                await client.close()
                if why := await shut_out(self._kafka):
                    raise BrokerError(
                        f"the Kafka broker at {self._kafka.bootstrap} does not let us in: {why}"
                    ) from error
                if asyncio.get_running_loop().time() >= deadline:
                    raise self._unavailable(error) from error
                if self._on_wait is not None:
                    self._on_wait()
                    self._on_wait = None
                await asyncio.sleep(min(0.5, self._wait_s))
                continue
            except asyncio.CancelledError:
                await client.close()
                raise
            self._client = client
            return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._client is not None:
            await self._client.close()

    def _unavailable(self, why: Exception) -> BrokerUnavailableError:
        if isinstance(why, KafkaError) and not isinstance(why, _NO_ANSWER):
            return self._not_ready(f"it answers {why!r}")
        # That a connection failed is said already.
        said = "" if isinstance(why, KafkaConnectionError) else repr(why)
        return BrokerUnavailableError.at(self._kafka.bootstrap, self._kafka.security_protocol, said)

    def _not_ready(self, why: str) -> BrokerUnavailableError:
        return BrokerUnavailableError(
            f"the Kafka broker at {self._kafka.bootstrap} is there but not ready: {why}; try again in a few seconds"
        )

    async def _ask(self, request: Any) -> Any:
        """Await an answer, and speak of a broker that gives none in our own terms."""
        try:
            async with asyncio.timeout(_ANSWER_S):
                return await request
        except (KafkaError, OSError, TimeoutError) as error:
            if isinstance(error, KafkaError) and not error.retriable:
                raise BrokerError(f"{self._kafka.bootstrap}: {told(error)}") from error
            raise self._unavailable(error) from error

    @property
    def _open(self) -> AIOKafkaAdminClient:
        if self._client is None:
            raise BrokerError("the administrative connection is not open")
        return self._client

    async def alive(self, topic: str) -> bool:
        """Whether the cluster answers now; asked for one topic, because all of them may be many."""
        try:
            await self._ask(self._open.describe_topics([topic]))
        except BrokerError:
            return False
        return True

    async def topics(self) -> dict[str, int]:
        """Every topic's name and number of partitions."""
        described = await self._ask(self._open.describe_topics())
        return {topic["topic"]: len(topic["partitions"]) for topic in described}

    async def facts(self, names: Collection[str]) -> dict[str, TopicFacts]:
        """What the broker says of these topics; those that do not exist are left out."""
        partitions = await self.topics()
        present = sorted(name for name in names if name in partitions)
        if not present:
            return {}
        resources = [ConfigResource(ConfigResourceType.TOPIC, name) for name in present]
        (response,) = await self._ask(self._open.describe_configs(resources))
        found: dict[str, TopicFacts] = {}
        for code, message, _kind, name, entries in response.resources:
            if code:
                # Describing settings is a permission of its own; the broker's default is a fair guess.
                log.warning("settings of a topic cannot be read", topic=name, error=message or for_code(code).__name__)
            configs = {entry[0]: entry[1] for entry in entries}
            limit = int(configs.get("max.message.bytes") or DEFAULT_MAX_MESSAGE_BYTES)
            found[name] = TopicFacts(name, partitions[name], limit, configs)
        return found

    async def create(self, topics: list[NewTopic]) -> dict[str, bool]:
        """Create topics, and wait until the broker tells of them; False for those that exist already.

        Raises BrokerError where the broker refuses.
        """
        response = await self._ask(self._open.create_topics(topics))
        created = {}
        for name, code, message in sorted(response.topic_errors):
            if code not in (0, TOPIC_EXISTS):
                raise BrokerError(f"topic {name} cannot be created: {self._why_not(name, code, message)}")
            created[name] = code == 0
        await self._until_told(created)
        return created

    def _why_not(self, topic: str, code: int, message: str | None) -> str:
        kind = for_code(code)
        if kind is not TopicAuthorizationFailedError:
            return f"{kind.__name__}: {message}"
        user = self._kafka.sasl_username
        return (
            f"{f'the user {user}' if user else 'this user'} may not; grant Create on it, or on the cluster: kafka-acls "
            f"--add --allow-principal User:{user or 'NAME'} --operation Create --topic {topic}"
        )

    async def _until_told(self, names: Collection[str]) -> None:
        """Brokers hear of what the controller created a moment later; until then topics seem to be missing."""
        deadline = asyncio.get_running_loop().time() + self._wait_s
        while missing := sorted(set(names) - set(await self.topics())):
            if asyncio.get_running_loop().time() >= deadline:
                raise self._not_ready(f"it was told to create {', '.join(missing)}, and knows nothing of them yet")
            await asyncio.sleep(_LOOK_S)

    async def delete_before(self, place: TopicPartition, offset: int) -> None:
        """Delete a partition's records before an offset. Raises BrokerError where the broker refuses."""
        await self._ask(self._open.delete_records({place: RecordsToDelete(offset)}))

    async def committed(self, group: str, source: TopicPartition) -> OffsetAndMetadata | None:
        """What the group has committed for the partition; None where nothing was ever committed.

        Raises BrokerUnavailableError where the group's coordinator cannot tell: taking that for "nothing" would
        process everything again.
        """
        offsets = await self._ask(self._open.list_consumer_group_offsets(group, partitions=[source]))
        stored: OffsetAndMetadata | None = offsets.get(source)
        if stored is None:
            # aiokafka leaves out what the coordinator refused to answer (it is loading, or has moved).
            raise self._not_ready(f"the coordinator of group {group} is still loading its offsets, or has moved")
        return stored if stored.offset >= 0 else None
