"""A whole small facility for tests of what operators do: the embedded elogbook and the pages, on real ports."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from zoneinfo import ZoneInfo

from sqlalchemy import Engine

from cryodaq.app.moving_copies import Refiling
from cryodaq.app.reprocess_sample import Reprocessing
from cryodaq.database import open_engine
from cryodaq.domain.experiment import ParameterValue
from cryodaq.domain.microscope import Microscope, RetentionRule, Share
from cryodaq.domain.parameters import InstrumentDefaults
from cryodaq.elogbook import accounts
from cryodaq.elogbook.sessions import open_session
from cryodaq.elogbook.settings import ElogbookSettings, MailRules
from cryodaq.ledger import tables as t
from cryodaq.ledger.samples import NewSample
from cryodaq.logbook.access import SessionAccess
from cryodaq.logbook.desk import Desk
from cryodaq.testing.elogbook import EmbeddedStage, running_elogbook
from cryodaq.testing.running_pages import running_pages
from cryodaq.testing.seeded_ledger import LedgerSeeder
from cryodaq.web.settings import WebSettings

EXPERIMENT, EARLIER = "20261122-CS01", "20261120-CA12"
PARAMS: Mapping[str, ParameterValue] = {
    "imaging_method": "single-particle",
    "imaging_software": "EPU",
    "imaging_format": ".tif",
    "superres": "0.0",
    "apix": 0.82,
    "cs": 2.7,
    "kev": 300.0,
    "fmdose": 1.1,
    "total_dose": 44.0,
    "total_frames": "40",
    "frame_duration": 0.05,
    "exposure_time": 2.0,
    "phase_plate": "0",
    "preprocess/enable": "1.0",
}
PEOPLE = {
    "olga": ("Olga Operator", "LabPersonnel"),
    "otto": ("Otto Operator", "LabPersonnel"),
    "uwe": ("Uwe User", None),
    "pi1": ("Paula Investigator", None),
    "student1": ("Sam Student", None),
}
"""Account, name, and role in the whole site."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatedFacility:
    """Running pages with an elogbook behind them; TEM1 collects `apoferritin` of `EXPERIMENT`."""

    url: str
    stage: EmbeddedStage
    seed: LedgerSeeder
    engine: Engine
    sample: NewSample
    settings: WebSettings

    def session(self, uid: str) -> str:
        """Return the secret of a new browser session of one of `PEOPLE`."""
        with self.engine.begin() as connection:
            settings = ElogbookSettings(database_url=self.settings.database_url)
            secret, _ = open_session(connection, uid, now=datetime.now(UTC), settings=settings)
        return secret

    def desk(self) -> Desk:
        """Return the pages' way to the elogbook."""
        found = self.settings.desk
        assert found is not None  # noqa: S101  # `operated_facility` gave one
        return found


@contextmanager
def operated_facility(database_url: str, storage: Path) -> Iterator[OperatedFacility]:
    """Serve a migrated, empty database as a facility with one microscope in the middle of a session."""
    engine = open_engine(database_url)
    rules = MailRules(address="{uid}@example.org")
    with running_elogbook(ElogbookSettings(database_url=database_url, mail=rules)) as elogbook:
        stage = EmbeddedStage(elogbook, database_url=database_url, stop=lambda: None)
        _add_people(engine)
        stage.add_instrument("TEM1")
        for name in (EARLIER, EXPERIMENT):
            stage.add_experiment(name, instrument="TEM1")
        stage.switch(EXPERIMENT, instrument="TEM1")
        sample_id = stage.add_sample(EXPERIMENT, "apoferritin", params=PARAMS)
        stage.make_current(EXPERIMENT, "apoferritin")
        stage.add_collaborator(EXPERIMENT, "uid:uwe")
        seed = LedgerSeeder(engine=engine, storage=storage, now=datetime.now(UTC))
        sample = seed.add_sample(sample_id, experiment=EXPERIMENT, params=PARAMS)
        seed.poll("tem1", sample=sample)
        with engine.begin() as connection:
            connection.execute(
                t.share_state.insert().values(
                    microscope="tem1", share="/share", scanned_at=seed.now, free_bytes=10**13, total_bytes=2 * 10**13
                )
            )
        with closing(SessionAccess(elogbook)) as access, closing(Desk(elogbook)) as desk:
            settings = _settings(database_url, storage, engine=engine, access=access, desk=desk)
            with running_pages(settings) as url:
                yield OperatedFacility(url=url, stage=stage, seed=seed, engine=engine, sample=sample, settings=settings)
        stage.close()
    engine.dispose()


def _add_people(engine: Engine) -> None:
    with engine.begin() as connection:
        for uid, (name, role) in PEOPLE.items():
            accounts.add_user(connection, uid, full_name=name)
            if role is not None:
                accounts.grant_site_role(connection, f"uid:{uid}", role=role)


def _settings(database_url: str, storage: Path, *, engine: Engine, access: SessionAccess, desk: Desk) -> WebSettings:
    tem1 = Microscope(
        name="tem1",
        instrument="TEM1",
        station=0,
        shares=(Share(root=PurePosixPath("/share")),),
        gain_root=None,
        detector="K3",
        defaults=InstrumentDefaults(voltage_kv=300.0, cs_mm=2.7, amplitude_contrast=0.1),
        retention=RetentionRule(),
        queue="tem1",
        needs_gain=False,
        computers=(("control", "tem1-control"), ("camera", "tem1-camera")),
    )
    return WebSettings(
        database_url=database_url,
        access=access,
        desk=desk,
        mails_log=True,
        microscopes=("tem1",),
        stands={"tem1": tem1},
        storage_root=storage,
        refiling=lambda microscope: Refiling(
            engine=engine,
            microscope=microscope,
            storage_root=PurePosixPath(storage),
            now=lambda: datetime.now(UTC),
            prepare=lambda _: None,
            grant_access=lambda *_: (),
        ),
        reprocessing=Reprocessing(
            engine=engine, calibrated_pixel_size_ang=lambda *_: None, now=lambda: datetime.now(UTC)
        ),
        zone=ZoneInfo("Europe/Berlin"),
    )
