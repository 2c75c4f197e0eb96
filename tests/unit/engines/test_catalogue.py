"""Choosing programs: names, versions, how they are started, and what numbers become."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cryodaq import config
from cryodaq.config.engines import Programs
from cryodaq.domain.parameters import ImagingParameters, Source, Sourced
from cryodaq.engines import catalogue
from cryodaq.engines.child import last_lines
from cryodaq.engines.ctffind import CTFFIND4, CTFFIND5, answers
from cryodaq.engines.external_ctf import normalised_fit
from cryodaq.engines.motioncor import MOTIONCOR2
from cryodaq.engines.movie_input import displacements_px_yx
from cryodaq.engines.program import ProgramSettings
from cryodaq.engines.relion import RELION
from cryodaq.engines.topaz import TOPAZ, scale_and_radius
from cryodaq.errors import ConfigError, EngineError
from cryodaq.wiring.engines import engines_named, engines_of


def said(value: float) -> Sourced:
    return Sourced(value=value, source=Source.OPERATOR)


def parameters(*, pixel_size_ang: float = 0.83, diameter_ang: float = 150.0) -> ImagingParameters:
    return ImagingParameters(
        pixel_size_ang=said(pixel_size_ang),
        voltage_kv=said(300.0),
        cs_mm=said(2.7),
        amplitude_contrast=said(0.1),
        dose_per_frame_e_ang2=said(1.25),
        particle_diameter_ang=said(diameter_ang),
    )


@pytest.mark.parametrize(
    ("choose", "names"),
    [
        (catalogue.motion_correction, {"native", "relion", "motioncor2", "motioncor3"}),
        (catalogue.ctf_estimation, {"native", "ctffind4", "ctffind5", "gctf"}),
        (catalogue.particle_picking, {"native", "relion", "topaz", "cryolo"}),
    ],
)
def test_every_name_gives_the_engine_of_that_name_and_others_are_told_all(choose, names) -> None:  # type: ignore[no-untyped-def]
    assert {choose(name).name for name in names} == names
    with pytest.raises(ConfigError) as refused:
        choose("motioncorr")
    assert all(name in str(refused.value) for name in names)


def test_the_facility_file_knows_the_catalogues_names() -> None:
    fields = config.Engines.model_fields
    assert set(fields["motion_correction"].annotation.__args__) == set(catalogue.MOTION_CORRECTIONS)  # type: ignore[union-attr]
    assert set(fields["ctf_estimation"].annotation.__args__) == set(catalogue.CTF_ESTIMATIONS)  # type: ignore[union-attr]
    assert set(fields["particle_picking"].annotation.__args__) == set(catalogue.PARTICLE_PICKINGS)  # type: ignore[union-attr]
    assert set(Programs.model_fields) == set(catalogue.PROGRAMS)


def test_a_named_engine_takes_the_stages_that_it_knows() -> None:
    engines = engines_named("relion")
    chosen = (engines.motion_correction.name, engines.ctf_estimation.name, engines.particle_picking.name)
    assert chosen == ("relion", "native", "relion")
    with pytest.raises(ConfigError, match="known are: cryolo, ctffind4"):
        engines_named("relione")


def test_the_facility_file_chooses_and_says_how_programs_start() -> None:
    facility = config.parse(
        """
        [storage]
        root = "/data"
        [[microscopes]]
        name = "tem1"
        instrument = "TEM1"
        shares = [{ root = "/mnt/tem1" }]
        [engines]
        motion_correction = "motioncor3"
        ctf_estimation = "ctffind5"
        [engines.programs.motioncor3]
        executable = "/soft/MotionCor3"
        prefix = ["apptainer", "exec", "--nv", "/soft/mc.sif"]
        gpus = [1]
        """,
        source="facility.toml",
    )
    engines = engines_of(facility.engines)
    assert engines.motion_correction.settings.prefix[0] == "apptainer"  # type: ignore[attr-defined]
    assert engines.motion_correction.settings.gpus == (1,)  # type: ignore[attr-defined]
    assert engines.ctf_estimation.settings == ProgramSettings()  # type: ignore[attr-defined]
    assert engines.particle_picking.name == "native"


@pytest.mark.parametrize(
    ("lines", "match"),
    [
        ('motion_correction = "motioncor4"', "motioncor3"),
        ('particle_picking = "cryolo"', "trained model"),
        ('[engines.programs.relione]\nexecutable = "x"', "did you mean 'relion'"),
        ('[engines.programs.relion]\nexecutabel = "x"', "did you mean 'executable'"),
        ('[engines.programs.relion]\nversion = "newest"', "version"),
    ],
)
def test_a_wrong_choice_is_refused_with_what_to_write(lines: str, match: str) -> None:
    text = f"""
[storage]
root = "/data"
[[microscopes]]
name = "tem1"
instrument = "TEM1"
shares = [{{ root = "/mnt/tem1" }}]
[engines]
{lines}
"""
    with pytest.raises(ConfigError, match=match):
        config.parse(text, source="facility.toml")


def test_a_container_stands_before_the_program() -> None:
    settings = ProgramSettings(
        executable="/opt/relion/bin/relion_run_motioncorr", prefix=("apptainer", "exec", "x.sif")
    )
    command = RELION.command(settings, ["--i", "a b.star"])
    assert command == ["apptainer", "exec", "x.sif", "/opt/relion/bin/relion_run_motioncorr", "--i", "a b.star"]


def test_a_module_cannot_be_a_script() -> None:
    with pytest.raises(EngineError, match="not the name of an environment module"):
        RELION.command(ProgramSettings(modules=("relion; rm -rf /",)), [])


@pytest.mark.parametrize(
    ("known", "text", "version"),
    [
        (RELION, "RELION version: 3.1.3 \nPrecision: BASE=double\n", "3.1.3"),
        (RELION, "RELION version: 5.0.0-commit-6331fe\n", "5.0.0"),
        (MOTIONCOR2, "MotionCor2 version 1.6.4\nBuilt on Jul 1 2024\n", "1.6.4"),
        (CTFFIND4, "# Output from CTFFind version 4.1.14, run on 2024-08-30 16:05:30\n", "4.1.14"),
        (CTFFIND5, "# Output from CTFFind version 5.0.2, run on 2025-02-13 21:14:21\n", "5.0.2"),
        (TOPAZ, "TOPAZ 0.2.5\n", "0.2.5"),
        (TOPAZ, "some warning of 1.2.3\n0.3.20\n", "0.3.20"),
    ],
)
def test_programs_say_their_version(known, text: str, version: str) -> None:  # type: ignore[no-untyped-def]
    assert known.check_version(text, ProgramSettings()) == version
    assert known.check_version(text, ProgramSettings(version=version.rpartition(".")[0])) == version


@pytest.mark.parametrize(
    ("known", "text", "wanted", "match"),
    [
        (RELION, "RELION version: 3.0.8\n", None, "3.1 up to"),
        (CTFFIND4, "# Output from CTFFind version 5.0.2\n", None, "up to, without, 5"),
        (MOTIONCOR2, "MotionCor2 version 1.5.0\n", "1.6", "wants 1.6"),
        (MOTIONCOR2, "MotionCor2 version 1.60\n", "1.6", "wants 1.6"),
        (MOTIONCOR2, "command not found\n", None, "does not say which version"),
    ],
)
def test_versions_that_are_not_understood_or_not_wanted_are_refused(
    known,
    text: str,
    wanted: str | None,
    match: str,  # type: ignore[no-untyped-def]
) -> None:
    with pytest.raises(EngineError, match=match):
        known.check_version(text, ProgramSettings(version=wanted))


@given(st.lists(st.tuples(st.floats(-50, 50), st.floats(-50, 50)), min_size=1, max_size=40), st.booleans())
def test_shifts_are_minus_the_displacement_in_the_programs_order_of_rows(
    displacement_xy: list[tuple[float, float]], turned: bool
) -> None:
    sign = -1 if turned else 1
    shifts = tuple((3.0 - x, 5.0 - sign * y) for x, y in displacement_xy)  # up to a constant
    found = displacements_px_yx(shifts, rows_turned=turned)
    (x0, y0), *_ = displacement_xy
    for (y, x), (true_x, true_y) in zip(found, displacement_xy, strict=True):
        assert math.hypot(x - (true_x - x0), y - (true_y - y0)) < 1e-9


@pytest.mark.parametrize(
    ("defocus", "azimuth", "u", "v", "angle"),
    [
        ((20_000.0, 19_000.0), 30.0, 20_000.0, 19_000.0, 30.0),
        ((19_000.0, 20_000.0), 30.0, 20_000.0, 19_000.0, 120.0),
        ((19_000.0, 20_000.0), 150.0, 20_000.0, 19_000.0, 60.0),
        ((20_000.0, 19_000.0), -14.85, 20_000.0, 19_000.0, 165.15),
    ],
)
def test_u_is_the_larger_defocus_and_its_angle_lies_in_the_half_circle(
    defocus: tuple[float, float], azimuth: float, u: float, v: float, angle: float
) -> None:
    fit = normalised_fit(
        defocus_ang=defocus, azimuth_deg=azimuth, phase_shift_deg=0.0, score=0.2, fit_resolution_ang=4.0
    )
    assert (fit.defocus_u_ang, fit.defocus_v_ang) == (u, v)
    assert fit.defocus_angle_deg == pytest.approx(angle)


def test_ctffind_is_answered_in_the_order_in_which_it_asks() -> None:
    lines = answers("aligned.mrc", "spectrum.mrc", parameters=parameters(), box_px=512).splitlines()
    assert lines[:12] == [
        "aligned.mrc",
        "spectrum.mrc",
        "0.83",
        "300",
        "2.7",
        "0.1",
        "512",
        "30",
        "4",
        "1000",
        "50000",
        "500",
    ]
    assert lines[12:17] == ["no", "yes", "yes", "500", "no"]
    assert set(lines[17:]) == {"no"}


def test_ctffind_searches_a_phase_shift_where_there_is_a_phase_plate() -> None:
    plain, plate = (
        answers("a.mrc", "b.mrc", parameters=replace(parameters(), phase_plate=there), box_px=512).splitlines()
        for there in (False, True)
    )
    assert plate[:16] == plain[:16]
    assert plate[16:20] == ["yes", "0", "3.14159", "0.174533"]
    assert plate[20:] == plain[17:]


def test_ctffind_is_not_asked_to_fit_beyond_nyquist() -> None:
    lines = answers("a.mrc", "b.mrc", parameters=parameters(pixel_size_ang=3.0), box_px=512).splitlines()
    assert float(lines[8]) == pytest.approx(6.3)


@pytest.mark.parametrize(("pixel", "diameter", "shrink"), [(1.5, 130.0, 4), (0.83, 150.0, 8), (4.0, 80.0, 1)])
def test_topaz_sees_particles_of_the_size_that_it_was_trained_with(pixel: float, diameter: float, shrink: int) -> None:
    found, radius_px = scale_and_radius(parameters(pixel_size_ang=pixel, diameter_ang=diameter))
    assert found == shrink
    assert 8 <= radius_px <= 12
    assert radius_px * 2 * found * pixel <= diameter


def test_last_lines_are_words_without_colours_and_progress_bars() -> None:
    text = "\x1b[31mWarning\x1b[0m\n" + "0%\r50%\r100%\n" + "".join(f"line {n}\n" for n in range(19))
    lines = last_lines(text).splitlines()
    assert lines[0] == "100%"
    assert len(lines) == 20
    assert last_lines("\x1b[31mWarning\x1b[0m\n\n") == "Warning"
