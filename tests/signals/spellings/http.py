"""Requests, as signals name them and as each other producer does."""

from __future__ import annotations

from tests.signals.spelling import MILLIS, SECONDS, Same, by, histogram

STATUS, OTHER_STATUS = {"200": 97.0, "503": 3.0}, {"200": 97.0, "500": 3.0}

HTTP = [
    Same(
        ("http.latency.p50", "http.latency.p95", "http.latency.p99", "http.latency.mean"),
        histogram("http_request_duration_seconds", SECONDS),
        [
            histogram("http.server.request.duration", SECONDS),
            histogram("http_server_request_duration_seconds", SECONDS),
            histogram("http.server.duration", MILLIS, 1000),
            histogram("http_server_duration_milliseconds", MILLIS, 1000),
            histogram("http_server_requests_seconds", SECONDS),
        ],
    ),
    Same(
        ("http.rps", "http.error_ratio", "http.availability"),
        by("status", "http_requests_total", STATUS),
        [
            by("code", "http_request_duration_seconds_count", OTHER_STATUS),
            by("status_code", "http_request_duration_seconds_count", OTHER_STATUS),
            by("http.response.status_code", "http.server.request.duration_count", OTHER_STATUS),
            by("http_response_status_code", "http_server_request_duration_seconds_count", OTHER_STATUS),
            by("http.status_code", "http.server.duration_count", OTHER_STATUS),
            by("http_status_code", "http_server_duration_milliseconds_count", OTHER_STATUS),
            by("status", "http_server_requests_seconds_count", OTHER_STATUS),
        ],
    ),
]
