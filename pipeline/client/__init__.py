"""For services: publish metrics to Kafka without ever disturbing what the service is for.

    from pipeline.client import MetricsPublisher

    async with MetricsPublisher("kafka:9092", service="shop") as metrics:
        orders = metrics.counter("orders_total")
        orders.inc(kind="gift")

Importing it loads the Kafka client and little else: neither numpy nor any other part of the pipeline.
"""

from pipeline.client.instruments import GUIDE_BUCKETS, Counter, Gauge, Histogram
from pipeline.client.publisher import Limits, MetricsPublisher, Statistics

__all__ = ["GUIDE_BUCKETS", "Counter", "Gauge", "Histogram", "Limits", "MetricsPublisher", "Statistics"]
