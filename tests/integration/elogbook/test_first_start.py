"""What the embedded elogbook knows before anybody told it anything."""

from __future__ import annotations

from cryodaq import config
from cryodaq.cli.accounts import ensure_instruments

from .conftest import Site

FACILITY = """
[storage]
root = "/data"

[[microscopes]]
name = "tem1"
instrument = "tem1"
cs_mm = 0.01
shares = [{ root = "/mnt/tem1" }]

[[microscopes]]
name = "tem2"
instrument = "TEM2"
voltage_kv = 200
cs_mm = 2.7
shares = [{ root = "/mnt/tem2" }]

[[microscopes]]
name = "tem3"
instrument = "TEM2"
station = 1
voltage_kv = 200
cs_mm = 2.7
shares = [{ root = "/mnt/tem3" }]
"""


def test_it_knows_the_microscopes_of_the_facility_file(site: Site) -> None:
    """Once, however often the system starts; what an operator wrote of one stays."""
    mine = {"_id": "TEM1", "description": "ours", "params": {"num_stations": 1, "cs": 1.2}}
    with site.as_program("admin") as admin:
        admin.post("/lgbk/ws/instruments/", json=mine)
        for _ in range(2):
            ensure_instruments(site.engine(), config.parse(FACILITY, source="facility.toml"))
        first, second = admin.get("/lgbk/ws/instruments").json()["value"]
    assert first == mine
    assert second == {"_id": "TEM2", "description": "", "params": {"num_stations": 2, "cs": 2.7, "keV": 200.0}}
