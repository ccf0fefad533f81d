"""The FastAPI example, as a real ASGI application on real Kafka."""

from __future__ import annotations

import asyncio
import json
from collections import Counter

import httpx
import pytest

from examples.fastapi_metrics import create_app
from pipeline.client import MetricsPublisher
from tests.client.test_publishing import create, everything


def test_requests_feed_the_guides_metrics(kafka, topic_prefix):
    """Every request is counted by method, route and status, and observed in the guide's buckets; nothing is lost."""
    topic = f"{topic_prefix}metrics"

    async def story() -> None:
        await create(kafka, topic)
        app = create_app(MetricsPublisher(kafka, service="shop", topic=topic, interval_s=60))
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with app.router.lifespan_context(app), httpx.AsyncClient(transport=transport, base_url="http://x") as to:
            answers = await asyncio.gather(*(to.get(f"/orders/{number}") for number in range(990, 1020)))
            await to.get("/no/such/page")
        assert Counter(answer.status_code for answer in answers) == {200: 11, 404: 19}
        (record,) = await everything(kafka, topic)
        message = json.loads(record.value)
        found = {
            (one["name"], *(one["labels"].get(name, "") for name in ("endpoint", "status", "le"))): value
            for one, value in zip(message["series"], message["value"], strict=True)
        }
        route = "/orders/{number}"
        assert found["http_requests_total", route, "200", ""] == 11
        assert found["http_requests_total", route, "404", ""] == 19
        assert found["http_requests_total", "unmatched", "404", ""] == 1
        assert found["http_request_duration_seconds_bucket", route, "", "+Inf"] == 30
        assert ("http_request_duration_seconds_bucket", route, "", "0.25") in found

    asyncio.run(story())


def test_exception_in_the_service_passes_and_counts_as_500():
    """The middleware measures what fails and leaves the exception to the server."""

    async def story() -> None:
        metrics = MetricsPublisher("127.0.0.1:9", service="shop")
        app = create_app(metrics)

        @app.get("/broken")
        async def broken() -> None:
            raise RuntimeError("no")

        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://x") as to:
            with pytest.raises(RuntimeError, match="no"):
                await to.get("/broken")
        (message,) = metrics._snapshots.take(1_767_225_600_000)
        (counter, *_) = json.loads(message.value)["series"]
        assert counter["labels"] == {"service": "shop", "method": "GET", "endpoint": "/broken", "status": "500"}

    asyncio.run(story())
