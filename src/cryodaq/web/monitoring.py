"""`/metrics` for Prometheus: numbers without names of experiments, samples or people, for whoever has the token."""

from __future__ import annotations

import hmac
import threading
import time
from collections.abc import Iterator, Sequence
from itertools import product
from typing import TYPE_CHECKING

from fastapi import APIRouter
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from cryodaq.errors import SchedulerError
from cryodaq.ledger.gauges import Gauges, read_gauges
from cryodaq.web.settings import WebSettings

if TYPE_CHECKING:
    from prometheus_client.core import Metric
    from sqlalchemy import Engine

router = APIRouter()
KEEP_S = 15.0
"""Numbers are read from the ledger so often at most, however many ask."""
Values = Sequence[tuple[tuple[str, ...], float]]
"""Each number after its labels' values."""
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Monitor:
    """Reads the numbers, and keeps them for a moment."""

    def __init__(self, engine: Engine, settings: WebSettings) -> None:
        self._engine, self._settings = engine, settings
        self._lock = threading.Lock()
        self._text, self._read_at = b"", float("-inf")

    def text(self) -> bytes:
        """Return the metrics as Prometheus reads them."""
        from prometheus_client import CollectorRegistry, generate_latest

        with self._lock:
            if time.monotonic() - self._read_at > KEEP_S:
                registry = CollectorRegistry(auto_describe=False)
                registry.register(self)
                self._text, self._read_at = generate_latest(registry), time.monotonic()
            return self._text

    def collect(self) -> Iterator[Metric]:
        """Yield all metrics."""
        with self._engine.connect() as connection:
            gauges = read_gauges(connection)
        yield from _of_ledger(gauges, microscopes=self._settings.microscopes)
        yield from self._of_airflow()

    def _of_airflow(self) -> Iterator[Metric]:
        scheduler = self._settings.scheduler
        if scheduler is None:
            return
        try:
            healthy = [((name,), float(state == "healthy")) for name, state in scheduler.health().items()]
            use = [((pool, state), count) for (pool, state), count in scheduler.pool_use().items()]
        except SchedulerError:
            healthy, use = [(("api",), 0.0)], []
        yield _family("airflow_healthy", "Whether Airflow's part is healthy.", ("component",), healthy)
        yield _family("airflow_pool_slots", "Slots of Airflow's pools.", ("pool", "state"), use)


def _family(
    name: str, meaning: str, labels: tuple[str, ...], values: Sequence[tuple[tuple[str, ...], float]]
) -> Metric:
    from prometheus_client.core import GaugeMetricFamily

    family = GaugeMetricFamily(f"cryodaq_{name}", meaning, labels=labels)
    for key, value in values:
        family.add_metric(key, value)
    return family


def _of_ledger(gauges: Gauges, *, microscopes: Sequence[str]) -> Iterator[Metric]:
    of_state = ("microscope", "state")
    files = [((one.microscope, one.state), one) for one in gauges.files]
    yield _family("files", "Files by state.", of_state, [(key, one.count) for key, one in files])
    yield _family("files_bytes", "Their size, bytes.", of_state, [(key, one.size_bytes) for key, one in files])
    yield _family("movies", "Copied movies by state.", of_state, [((a, b), n) for a, b, n in gauges.movies])
    backlog = dict.fromkeys(product(microscopes, ("waiting", "in_flight")), 0)  # no movie is a number, too
    backlog |= {(a, b.replace(" ", "_")): n for a, b, n in gauges.backlog}
    yield _family("movies_to_process", "Movies that wait to be, or are, handed over.", of_state, list(backlog.items()))
    stages = [((one.microscope, one.stage), one) for one in gauges.stages]
    of_stage = ("microscope", "stage")
    median = [(key, one.median_s) for key, one in stages]
    yield _family("stage_seconds_median", "Median time of the newest stages, s.", of_stage, median)
    p95 = [(key, one.p95_s) for key, one in stages]
    yield _family("stage_seconds_p95", "Time that 95 % of the newest stages stay below, s.", of_stage, p95)
    failed = [(key, one.failed / max(1, one.failed + one.succeeded)) for key, one in stages]
    yield _family("stage_failed_fraction", "Failed attempts among the newest stages.", of_stage, failed)
    alarms = [((a, b), n) for a, b, n in gauges.alarms]
    yield _family("alarms", "Open alarms.", ("microscope", "severity"), list(alarms))
    of_share = ("microscope", "share")
    free = [((a, b), n) for a, b, n, _ in gauges.shares]
    yield _family("share_free_bytes", "Free on the camera's share, bytes.", of_share, list(free))
    total = [((a, b), n) for a, b, _, n in gauges.shares]
    yield _family("share_total_bytes", "Size of the camera's share, bytes.", of_share, list(total))
    asked = [((name,), at.timestamp()) for name, at in gauges.polled_at]
    yield _family("elogbook_asked_timestamp_seconds", "When the elogbook was last asked.", ("microscope",), asked)
    yield _family(
        "elogbook_undelivered", "Messages that the elogbook has not taken yet.", (), [((), gauges.undelivered)]
    )


@router.get("/metrics")
async def metrics(request: Request) -> Response:
    """Return the metrics; without a token in the settings there are none."""
    settings: WebSettings = request.app.state.settings
    monitor: Monitor = request.app.state.monitor
    if settings.metrics_token is None:
        return Response(status_code=404)
    kind, _, given = request.headers.get("authorization", "").partition(" ")
    if kind.lower() != "bearer" or not hmac.compare_digest(given.strip().encode(), settings.metrics_token.encode()):
        return Response(status_code=401, headers={"www-authenticate": "Bearer"})
    return Response(await run_in_threadpool(monitor.text), headers={"content-type": CONTENT_TYPE})
