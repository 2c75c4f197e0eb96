"""The elogbook is told everything in order, once, and never holds the pipeline up."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine

from cryodaq.app.deliver_results import deliver_due
from cryodaq.database import open_engine
from cryodaq.domain.experiment import Assignment
from cryodaq.ledger import deliveries
from cryodaq.ledger.events import open_alarms
from cryodaq.testing.fake_logbook import FakeLogbook

OF_A_RUN = tuple(call for call in deliveries.CALLS if call not in {"change_sample", "add_note"})
"""What is told of a movie that stays where it is and does not fail."""
NOW = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)
EXPERIMENT = "20261122-CS01"
FILE = {
    "path": "sample/aligned/m.mrc",
    "size_bytes": 12,
    "checksum": "xxh3_128:00",
    "created_at": NOW.isoformat(),
    "modified_at": NOW.isoformat(),
}


@dataclass
class Clock:
    """A clock that only moves when told to."""

    now: datetime = NOW

    def __call__(self) -> datetime:
        return self.now


@dataclass
class CountingLogbook(FakeLogbook):
    """Remembers every call that reached it."""

    calls: list[tuple[str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        FakeLogbook.__init__(self)

    def start_run(self, experiment: str, run: str, **about: object) -> None:
        self.calls.append(("start_run", run))
        super().start_run(experiment, run, **about)  # type: ignore[arg-type]  # passed on

    def add_run_params(self, experiment: str, run: str, **about: object) -> None:
        self.calls.append(("add_run_params", run))
        super().add_run_params(experiment, run, **about)  # type: ignore[arg-type]  # passed on


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    made = open_engine(database_url)
    yield made
    made.dispose()


@pytest.fixture
def logbook() -> CountingLogbook:
    made = CountingLogbook()
    made.add_instrument("TEM1")
    made.add_experiment(EXPERIMENT, instrument="TEM1")
    made.add_sample(EXPERIMENT, "apo", params={})
    assert made.current_state("TEM1", station=0).assignment is Assignment.NOTHING
    return made


def queue(engine: Engine, run: str, *, sample: str = "apo", only: tuple[str, ...] = OF_A_RUN) -> None:
    """Queue all calls of one run."""
    payloads: dict[str, dict[str, object]] = {
        "start_run": {"sample_name": sample, "begun_at": NOW.isoformat()},
        "add_run_params": {"params": {"aligned_resolution": 3.6}},
        "register_files": {"files": [FILE]},
        "end_run": {"ended_at": (NOW + timedelta(minutes=1)).isoformat()},
    }
    with engine.begin() as connection:
        for call in only:
            deliveries.enqueue(
                connection, EXPERIMENT, run_name=run, call=call, payload=payloads[call], key=f"{run}:{call}", at=NOW
            )


def waiting(engine: Engine) -> int:
    """Return how many deliveries wait."""
    with engine.connect() as connection:
        return deliveries.undelivered(connection)


def test_a_run_arrives_whole(engine: Engine, logbook: CountingLogbook) -> None:
    queue(engine, "m1")
    assert deliver_due(engine, logbook, clock=Clock()) == 4
    run = logbook.recorded_run(EXPERIMENT, "m1")
    assert run is not None
    assert run.params == {"aligned_resolution": 3.6}
    assert run.begun_at == NOW
    assert run.ended_at == NOW + timedelta(minutes=1)
    assert run.files["sample/aligned/m.mrc"].checksum == "xxh3_128:00"


def test_what_was_delivered_is_never_sent_again(engine: Engine, logbook: CountingLogbook) -> None:
    queue(engine, "m1")
    deliver_due(engine, logbook, clock=Clock())
    queue(engine, "m1")
    assert deliver_due(engine, logbook, clock=Clock()) == 0
    assert len(logbook.calls) == 2


def test_without_an_answer_everything_waits_in_order(engine: Engine, logbook: CountingLogbook) -> None:
    clock = Clock()
    queue(engine, "m1")
    queue(engine, "m2")
    logbook.go_down()
    assert deliver_due(engine, logbook, clock=clock) == 0
    assert logbook.calls == [("start_run", "m1")]
    logbook.is_down = False
    clock.now += timedelta(minutes=10)
    assert deliver_due(engine, logbook, clock=clock) == 8
    assert [run for _, run in logbook.calls[1:]] == ["m1", "m1", "m2", "m2"]
    assert waiting(engine) == 0


def test_a_refusal_holds_back_its_own_run_only_and_is_an_alarm(engine: Engine, logbook: CountingLogbook) -> None:
    clock = Clock()
    queue(engine, "bad", sample="unknown sample")
    queue(engine, "good")
    assert deliver_due(engine, logbook, clock=clock) == 4
    assert logbook.recorded_run(EXPERIMENT, "good") is not None
    assert waiting(engine) == 4
    with engine.connect() as connection:
        (alarm,) = open_alarms(connection)
    assert "start_run of run bad" in alarm.text
    assert "Sample unknown sample does not exist" in alarm.text

    logbook.add_sample(EXPERIMENT, "unknown sample", params={})
    assert deliver_due(engine, logbook, clock=clock) == 0, "it is not tried again at once"
    clock.now += timedelta(minutes=10)
    assert deliver_due(engine, logbook, clock=clock) == 4
    with engine.connect() as connection:
        assert open_alarms(connection) == []


def test_the_pause_between_refusals_doubles_and_ends_at_five_minutes(engine: Engine, logbook: CountingLogbook) -> None:
    clock = Clock()
    queue(engine, "bad", sample="unknown sample", only=("start_run",))
    pauses = []
    for _ in range(12):
        deliver_due(engine, logbook, clock=clock)
        begun = clock.now
        with engine.connect() as connection:
            while not deliveries.due(connection, clock.now):
                clock.now += timedelta(seconds=1)
        pauses.append((clock.now - begun).total_seconds())
    assert pauses[:4] == [1, 2, 4, 8]
    assert pauses[-1] == 300


def test_a_second_sender_leaves_the_work_to_the_first(engine: Engine, logbook: CountingLogbook) -> None:
    queue(engine, "m1")
    with engine.connect() as first:
        assert deliveries.take_sender_lock(first)
        assert deliver_due(engine, logbook, clock=Clock()) == 0
        deliveries.give_sender_lock_back(first)
    assert deliver_due(engine, logbook, clock=Clock()) == 4
