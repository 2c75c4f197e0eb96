"""`cryodaq align|ctf|pick|process`: one stage or all of one movie, without database and scheduler."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from cryodaq.errors import ConfigError, ParameterError

if TYPE_CHECKING:
    from cryodaq.app.preprocess_movie import Engines
    from cryodaq.domain.parameters import ImagingParameters
    from cryodaq.domain.results import AlignmentResult, CtfFit, CtfResult, PickResult
    from cryodaq.engines.native import NativeCtfEstimation
    from cryodaq.engines.native_alignment import NativeMotionCorrection

MovieArgument = Annotated[Path, typer.Argument(help="TIFF, MRC or EER movie.", exists=True, dir_okay=False)]
MicrographArgument = Annotated[Path, typer.Argument(help="MRC micrograph.", exists=True, dir_okay=False)]
PixelOption = Annotated[float | None, typer.Option("--pixel-size-ang", help="Å; default: the file's header.")]
DoseOption = Annotated[float | None, typer.Option("--dose-per-frame-e-ang2", help="e⁻/Å² per frame.")]
VoltageOption = Annotated[float, typer.Option("--voltage-kv", help="kV.")]
CsOption = Annotated[float, typer.Option("--cs-mm", help="Spherical aberration, mm.")]
ContrastOption = Annotated[float, typer.Option("--amplitude-contrast", help="Fraction, 0 to 0.5.")]
GainOption = Annotated[
    Path | None, typer.Option("--gain", help="Gain reference that multiplies.", exists=True, dir_okay=False)
]
SpectrumOption = Annotated[
    bool,
    typer.Option(
        "--spectrum", help="The file is a centred amplitude or power spectrum; the pixel size is its micrograph's."
    ),
]
PatchesOption = Annotated[str, typer.Option("--patches", help="Patches, YxX.")]
ThrowOption = Annotated[int, typer.Option("--throw", help="Frames left out at the start.", min=0)]
TruncOption = Annotated[int, typer.Option("--trunc", help="Frames left out at the end.", min=0)]
SuperResolutionOption = Annotated[
    bool, typer.Option("--super-resolution", help="Frames have half the physical pixel; sums get the physical one.")
]
PhasePlateOption = Annotated[bool, typer.Option("--phase-plate", help="Fit a phase shift too.")]
HalvesOption = Annotated[bool, typer.Option("--halves", help="Write sums of even and odd frames too.")]
HalfPrecisionOption = Annotated[bool, typer.Option("--half-precision", help="Write sums as 16-bit floating point.")]
PowerOption = Annotated[bool, typer.Option("--power-spectrum", help="Write the micrograph's power spectrum too.")]
EER_UPSAMPLINGS: dict[str, Literal[1, 2, 4]] = {"1": 1, "2": 2, "4": 4}
DeviceOption = Annotated[
    Literal["auto", "cpu", "cuda"],
    typer.Option("--device", help="Where frames are added up; auto: on a GPU if cryodaq[gpu] finds one."),
]
EerOption = Annotated[
    Literal["1", "2", "4"],
    typer.Option(
        "--eer-upsampling", help="Pixels into which EER movies' electrons are placed, per sensor pixel's edge."
    ),
]
DiameterOption = Annotated[float, typer.Option("--particle-diameter-ang", help="Å.")]
EngineOption = Annotated[str, typer.Option("--engine", help="Program of the stage.")]
OutOption = Annotated[Path | None, typer.Option("--out", help="Folder of the results; default: beside the input.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


def align(
    movie: MovieArgument,
    pixel_size_ang: PixelOption = None,
    dose_per_frame_e_ang2: DoseOption = None,
    voltage_kv: VoltageOption = 300.0,
    gain: GainOption = None,
    patches: PatchesOption = "1x1",
    throw: ThrowOption = 0,
    trunc: TruncOption = 0,
    super_resolution: SuperResolutionOption = False,
    halves: HalvesOption = False,
    half_precision: HalfPrecisionOption = False,
    power_spectrum: PowerOption = False,
    eer_upsampling: EerOption = "1",
    device: DeviceOption = "auto",
    engine: EngineOption = "native",
    out: OutOption = None,
    as_json: JsonOption = False,
) -> None:
    """Correct a movie's motion: aligned, dose-weighted and unaligned sums."""
    from cryodaq.domain.products import AlignmentProducts
    from cryodaq.engines.native_alignment import NativeMotionCorrection

    parameters = _parameters(
        movie,
        pixel_size_ang=pixel_size_ang,
        dose_per_frame_e_ang2=dose_per_frame_e_ang2,
        voltage_kv=voltage_kv,
        others={
            "patches_yx": _patches(patches),
            "throw": throw,
            "trunc": trunc,
            "super_resolution": super_resolution,
        },
    )
    products = AlignmentProducts(halves=halves, half_precision=half_precision, power_spectrum=power_spectrum)
    native = NativeMotionCorrection(products=products, device=device, eer_upsampling=EER_UPSAMPLINGS[eer_upsampling])
    with _folder(out, movie) as folder:
        result = _align(movie, gain, parameters, folder, _engines(engine, native=native))
    _show(_align_facts(result), as_json=as_json)


def ctf(
    micrograph: MicrographArgument,
    pixel_size_ang: PixelOption = None,
    voltage_kv: VoltageOption = 300.0,
    cs_mm: CsOption = 2.7,
    amplitude_contrast: ContrastOption = 0.1,
    phase_plate: PhasePlateOption = False,
    spectrum: SpectrumOption = False,
    engine: EngineOption = "native",
    out: OutOption = None,
    as_json: JsonOption = False,
) -> None:
    """Fit the contrast transfer function of a micrograph, or of a spectrum."""
    parameters = _parameters(
        micrograph,
        pixel_size_ang=pixel_size_ang,
        voltage_kv=voltage_kv,
        cs_mm=cs_mm,
        amplitude_contrast=amplitude_contrast,
        others={"phase_plate": phase_plate},
    )
    with _folder(out, micrograph) as folder:
        if spectrum:
            result = _spectrum_fit(engine).fit_spectrum(micrograph, parameters=parameters, folder=folder)
        else:
            result = _fit(micrograph, None, parameters, folder, _engines(engine))
    made = {"spectrum": result.spectrum, "curves": result.curves, "seconds": result.seconds}
    _show({**_fit_facts(result.aligned), **made}, as_json=as_json)


def pick(
    micrograph: MicrographArgument,
    pixel_size_ang: PixelOption = None,
    particle_diameter_ang: DiameterOption = 150.0,
    engine: EngineOption = "native",
    out: OutOption = None,
    as_json: JsonOption = False,
) -> None:
    """Find particles in a micrograph."""
    parameters = _parameters(micrograph, pixel_size_ang=pixel_size_ang, particle_diameter_ang=particle_diameter_ang)
    with _folder(out, micrograph) as folder:
        picked = _pick(micrograph, parameters, folder, _engines(engine))
    _show(asdict(picked), as_json=as_json)


def process(
    movie: MovieArgument,
    pixel_size_ang: PixelOption = None,
    dose_per_frame_e_ang2: DoseOption = None,
    voltage_kv: VoltageOption = 300.0,
    cs_mm: CsOption = 2.7,
    amplitude_contrast: ContrastOption = 0.1,
    phase_plate: PhasePlateOption = False,
    gain: GainOption = None,
    patches: PatchesOption = "1x1",
    throw: ThrowOption = 0,
    trunc: TruncOption = 0,
    super_resolution: SuperResolutionOption = False,
    eer_upsampling: EerOption = "1",
    device: DeviceOption = "auto",
    particle_diameter_ang: DiameterOption = 150.0,
    engine: EngineOption = "native",
    out: OutOption = None,
    as_json: JsonOption = False,
) -> None:
    """Run all stages of one movie: align, ctf, pick."""
    from cryodaq.engines.native_alignment import NativeMotionCorrection

    parameters = _parameters(
        movie,
        pixel_size_ang=pixel_size_ang,
        dose_per_frame_e_ang2=dose_per_frame_e_ang2,
        voltage_kv=voltage_kv,
        cs_mm=cs_mm,
        amplitude_contrast=amplitude_contrast,
        particle_diameter_ang=particle_diameter_ang,
        others={
            "patches_yx": _patches(patches),
            "throw": throw,
            "trunc": trunc,
            "super_resolution": super_resolution,
            "phase_plate": phase_plate,
        },
    )
    native = NativeMotionCorrection(device=device, eer_upsampling=EER_UPSAMPLINGS[eer_upsampling])
    engines = _engines(engine, native=native)
    with _folder(out, movie) as folder:
        aligned = _align(movie, gain, parameters, folder, engines)
        parameters = parameters.at_pixels_of(aligned.pixel_size_ang)
        fitted = _fit(Path(aligned.micrograph), Path(aligned.unaligned_sum), parameters, folder, engines)
        picked = _pick(Path(aligned.micrograph_dose_weighted), parameters, folder, engines)
    facts = {
        "align": _align_facts(aligned),
        "ctf": {
            **_fit_facts(fitted.aligned),
            "unaligned": None if fitted.unaligned is None else _fit_facts(fitted.unaligned),
            "spectrum": fitted.spectrum,
            "curves": fitted.curves,
            "seconds": fitted.seconds,
        },
        "pick": asdict(picked),
    }
    _show(facts, as_json=as_json)


def _engines(name: str, *, native: NativeMotionCorrection | None = None) -> Engines:
    from cryodaq.wiring.engines import engines_named

    return engines_named(name, native=native)


def _spectrum_fit(engine: str) -> NativeCtfEstimation:
    from cryodaq.wiring.engines import spectrum_fit_named

    return spectrum_fit_named(engine)


@contextmanager
def _folder(out: Path | None, source: Path) -> Iterator[Path]:
    """Give the folder of the results; one that was made for them and stayed empty, because a stage failed, goes."""
    folder = (out or source.parent / f"{source.stem}_cryodaq").absolute()
    existed = folder.is_dir()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield folder
    finally:
        if not existed and not any(folder.iterdir()):
            folder.rmdir()


def _parameters(
    source: Path,
    *,
    pixel_size_ang: float | None,
    dose_per_frame_e_ang2: float | None = 1.0,
    voltage_kv: float = 300.0,
    cs_mm: float = 2.7,
    amplitude_contrast: float = 0.1,
    particle_diameter_ang: float = 150.0,
    others: Mapping[str, object] | None = None,
) -> ImagingParameters:
    """Make the typed record from options, completed by the file's header."""
    from cryodaq.domain.parameters import PHYSICAL_RANGES, Source, from_mapping
    from cryodaq.formats.movie import read_header

    pixel = pixel_size_ang if pixel_size_ang is not None else read_header(source).pixel_size_ang
    if pixel is None:
        message = f"{source.name} does not say its pixel size; give --pixel-size-ang"
        raise ParameterError(message)
    if dose_per_frame_e_ang2 is None:
        message = "give --dose-per-frame-e-ang2: dose weighting needs it"
        raise ParameterError(message)
    values = {
        "pixel_size_ang": pixel,
        "voltage_kv": voltage_kv,
        "cs_mm": cs_mm,
        "amplitude_contrast": amplitude_contrast,
        "dose_per_frame_e_ang2": dose_per_frame_e_ang2,
        "particle_diameter_ang": particle_diameter_ang,
    }
    for name, value in values.items():
        low, high = PHYSICAL_RANGES[name]
        if not low <= value <= high:
            message = f"--{name.replace('_', '-')} is {value:g}; it must lie between {low:g} and {high:g}"
            raise ParameterError(message)
    plain = {name: {"value": value, "source": Source.OPERATOR} for name, value in values.items()}
    return from_mapping({**plain, **(others or {})})


def _patches(text: str) -> tuple[int, int]:
    rows, separator, columns = text.lower().partition("x")
    if not (separator and rows.isdigit() and columns.isdigit() and int(rows) and int(columns)):
        message = f"--patches is {text!r}; write rows and columns such as 5x7"
        raise ConfigError(message)
    return int(rows), int(columns)


def _align(
    movie: Path, gain: Path | None, parameters: ImagingParameters, folder: Path, engines: Engines
) -> AlignmentResult:
    return engines.motion_correction.align(movie.absolute(), gain=gain, parameters=parameters, folder=folder)


def _fit(
    micrograph: Path, unaligned_sum: Path | None, parameters: ImagingParameters, folder: Path, engines: Engines
) -> CtfResult:
    return engines.ctf_estimation.fit(micrograph, unaligned_sum=unaligned_sum, parameters=parameters, folder=folder)


def _pick(micrograph: Path, parameters: ImagingParameters, folder: Path, engines: Engines) -> PickResult:
    return engines.particle_picking.pick(micrograph, parameters=parameters, folder=folder)


def _align_facts(result: AlignmentResult) -> dict[str, object]:
    facts = asdict(result)
    motion = facts.pop("motion")
    return {
        **facts,
        "displacement_px_xy": motion["displacement_px_xy"],
        "motion_total_ang": motion["total_ang"],
        "motion_early_ang": motion["early_ang"],
        "motion_late_ang": motion["late_ang"],
    }


def _fit_facts(fit: CtfFit) -> dict[str, object]:
    return {**asdict(fit), "astigmatism_ang": fit.astigmatism_ang}


def _show(facts: Mapping[str, object], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(_plain(facts), indent=2, ensure_ascii=False, allow_nan=False))
        return
    _print_lines(facts, indent="")


def _print_lines(facts: Mapping[str, object], *, indent: str) -> None:
    for name, value in facts.items():
        if isinstance(value, Mapping):
            print(f"{indent}{name}:")
            _print_lines(value, indent=f"{indent}  ")
        else:
            print(f"{indent}{name}: {_short(value)}")


def _plain(value: object) -> object:
    """Return the value with null for what is not a number, which JSON cannot say."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _short(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, tuple | list) and len(value) > 3:
        return f"{len(value)} values"
    return str(value)
