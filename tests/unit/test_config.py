"""The facility file: what it refuses, and how it says so."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from cryodaq import config
from cryodaq.config.machines import Pools
from cryodaq.errors import ConfigError

GOOD = """
[site]
zone = "Europe/Berlin"
calibrated_pixel_sizes = [{ detector = "K3", magnification = 105000, pixel_size_ang = 0.825 }]

[storage]
root = "/data"

[[microscopes]]
name = "tem1"
instrument = "TEM1"
voltage_kv = 300
cs_mm = 2.7
detector = "K3"
shares = [{ root = "/mnt/tem1" }]
"""


def test_a_good_file_becomes_a_microscope_in_our_words() -> None:
    facility = config.parse(GOOD, source="facility.toml")
    microscope = facility.microscope("tem1")
    assert microscope.dag_id == "tem1-daq"
    assert microscope.queue == "tem1"
    assert microscope.defaults.voltage_kv == 300.0
    assert str(microscope.shares[0].root) == "/mnt/tem1"
    assert not microscope.retention.enabled


def test_a_microscopes_computers_are_known_by_what_they_do() -> None:
    text = GOOD.replace('detector = "K3"\nshares', 'detector = "K3"\nhosts = { camera = "k3-one" }\nshares')
    microscope = config.parse(text, source="facility.toml").microscope("tem1")
    assert microscope.computers == (("camera", "k3-one"),)
    assert microscope.shares[0].camera_server == "k3-one"


def test_the_calibration_is_found_by_detector_and_magnification() -> None:
    facility = config.parse(GOOD, source="facility.toml")
    assert facility.calibrated_pixel_size_ang("K3", 105000.0) == 0.825
    assert facility.calibrated_pixel_size_ang("K3", 81000.0) is None
    assert facility.calibrated_pixel_size_ang("K3", None) is None


def test_an_unknown_key_names_the_nearest_valid_one() -> None:
    text = GOOD.replace('instrument = "TEM1"', 'instrument = "TEM1"\ninstrumnt = "x"')
    with pytest.raises(ConfigError, match=r"microscopes\.1\.instrumnt is not a setting; did you mean 'instrument'"):
        config.parse(text, source="facility.toml")


def test_an_unknown_table_names_the_nearest_valid_one() -> None:
    with pytest.raises(ConfigError, match="storrage is not a setting; did you mean 'storage'"):
        config.parse(GOOD + '[storrage]\nroot = "/x"\n', source="facility.toml")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('root = "/data"', 'root = "data"', "storage.root: data must be an absolute path"),
        ("Europe/Berlin", "Europe/Berlln", "is not a time zone"),
        ("voltage_kv = 300", "voltage_kv = -3", "greater than 0"),
        ('name = "tem1"', 'name = "TEM1"', "microscopes.1.name"),
        ('instrument = "TEM1"\n', "", "microscopes.1.instrument is missing"),
        ("[storage]", "[storage", "is not TOML"),
    ],
)
def test_a_mistake_is_one_sentence_with_its_place(old: str, new: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        config.parse(GOOD.replace(old, new), source="facility.toml")


def test_two_microscopes_cannot_share_a_name() -> None:
    again = GOOD[GOOD.index("[[microscopes]]") :].replace("TEM1", "TEM2")
    with pytest.raises(ConfigError, match="two microscopes have the name tem1"):
        config.parse(GOOD + again, source="facility.toml")


def test_a_file_with_a_mistake_leaves_the_active_one_in_place(tmp_path: Path) -> None:
    file = tmp_path / "facility.toml"
    file.write_text(GOOD)
    config.activate(file, home=tmp_path)
    file.write_text(GOOD.replace("voltage_kv", "voltage_kw"))
    with pytest.raises(ConfigError):
        config.activate(file, home=tmp_path)
    assert config.load_active(tmp_path).microscope("tem1").defaults.voltage_kv == 300.0


def test_a_start_with_a_mistake_goes_on_with_what_was_good_and_says_so(tmp_path: Path) -> None:
    file, other = tmp_path / "facility.toml", tmp_path / "other.toml"
    file.write_text(GOOD)
    assert config.activate_or_keep(file, home=tmp_path)[1] is None
    wrong = GOOD.replace("voltage_kv", "voltage_kw")
    file.write_text(wrong)
    facility, mistake = config.activate_or_keep(file, home=tmp_path)
    assert facility.microscope("tem1").defaults.voltage_kv == 300.0
    assert mistake is not None
    assert "voltage_kw is not a setting; did you mean 'voltage_kv'?" in mistake
    assert len(mistake.splitlines()) == 1
    other.write_text(wrong)  # of another file, nothing good is known
    with pytest.raises(ConfigError):
        config.activate_or_keep(other, home=tmp_path)


def test_a_mistake_in_a_microscope_is_not_told_as_if_there_were_none() -> None:
    with pytest.raises(ConfigError) as caught:
        config.parse(GOOD.replace("voltage_kv", "voltage_kw"), source="facility.toml")
    assert len(str(caught.value).splitlines()) == 1
    with pytest.raises(ConfigError, match="microscopes"):
        config.parse(GOOD.partition("[[microscopes]]")[0] + "microscopes = []\n", source="facility.toml")


def test_a_missing_file_is_said_with_its_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.toml"):
        config.load(tmp_path / "nowhere.toml")


def test_an_empty_secret_is_refused_and_a_good_one_hidden(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("\n")
    with pytest.raises(ConfigError, match="empty"):
        config.read_secret(file)
    file.write_text("hush\n")
    secret = config.read_secret(file)
    assert secret.get_secret_value() == "hush"
    assert "hush" not in repr(secret)


RULES = """
[engines]
motion_correction = "relion"

[[engines.rules]]
experiments = "20260101-C.*"
ctf_estimation = "ctffind5"

[[engines.rules]]
microscopes = ["tem1"]
samples = ["0123456789abcdef01234567"]
motion_correction = "motioncor3"
ctf_estimation = "gctf"
"""


@pytest.mark.parametrize(
    ("experiment", "sample_id", "expected"),
    [
        ("20260202-CAB01", "f" * 24, ("relion", "native")),
        ("20260101-CAB01", "f" * 24, ("relion", "ctffind5")),
        ("20260202-CAB01", "0123456789abcdef01234567", ("motioncor3", "gctf")),
        ("20260101-CAB01", "0123456789abcdef01234567", ("motioncor3", "ctffind5")),
    ],
)
def test_each_stage_takes_the_first_rule_that_names_a_program_for_the_sample(
    experiment: str, sample_id: str, expected: tuple[str, str]
) -> None:
    engines = config.parse(GOOD + RULES, source="facility.toml").engines
    chosen = engines.for_sample(microscope="tem1", experiment=experiment, sample_id=sample_id)
    assert (chosen.motion_correction, chosen.ctf_estimation) == expected
    assert chosen.particle_picking == "native"
    assert engines.chosen == {"relion", "native", "ctffind5", "motioncor3", "gctf"}


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ('microscopes = ["tem9"]', "names tem9"),
        ('experiments = "("', "is not a regular expression"),
        ('particle_picking = "cryolo"', "cryolo needs a trained model"),
        ('samples = ["x"]', "samples"),
    ],
)
def test_a_rule_that_cannot_be_meant_is_refused(rule: str, said: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(said)):
        config.parse(f"{GOOD}[[engines.rules]]\n{rule}\n", source="facility.toml")


@pytest.mark.parametrize(
    ("cores", "memory_gb", "given", "slots"),
    [
        (2, 24, {}, 2),
        (16, 24, {}, 5),
        (16, 24, {"memory_per_task_gb": 9.0}, 2),
        (2, 4, {}, 1),
        (2, 4, {"compute_slots": 8}, 8),
    ],
)
def test_as_many_tasks_process_as_have_a_core_and_the_memory_of_a_movie(
    cores: int, memory_gb: int, given: dict[str, float], slots: int
) -> None:
    pools = Pools.model_validate(given)
    assert pools.slots(cores=cores, memory_bytes=int(memory_gb * 1e9)) == slots
    assert pools.in_flight(cores=cores, memory_bytes=int(memory_gb * 1e9)) == 2 * slots + 8


def test_what_became_of_the_file_that_was_activated_is_said(tmp_path: Path) -> None:
    file, home = tmp_path / "facility.toml", tmp_path / "home"
    home.mkdir()
    assert config.problem_of_source(home) is None
    file.write_text(GOOD)
    config.activate(file, home=home)
    assert config.problem_of_source(home) is None
    file.write_text(GOOD.replace("voltage_kv", "voltage_kw"))
    problem = config.problem_of_source(home)
    assert problem is not None
    assert "voltage_kw" in problem
    assert "goes on with the facility file that passed the check last" in problem
    file.write_text(GOOD.replace("300", "200"))
    assert "restart to use it" in (config.problem_of_source(home) or "")
    file.write_text(GOOD)
    assert config.problem_of_source(home) is None
    file.unlink()
    assert config.problem_of_source(home) is None


def test_a_proxy_may_stand_before_the_pages_without_signing_people_on_but_no_header_without_a_proxy() -> None:
    facility = config.parse(GOOD + '\n[sign_on]\nproxies = ["192.0.2.10"]\n', source="facility.toml")
    assert [str(one) for one in facility.sign_on.proxies] == ["192.0.2.10/32"]
    with pytest.raises(ConfigError, match="a header counts from proxies only"):
        config.parse(GOOD + '\n[sign_on]\nheader = "X-Forwarded-User"\n', source="facility.toml")
