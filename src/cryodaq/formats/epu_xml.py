"""The XML files of EPU 1 to 3: one about each exposure, and one about its fractions."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import PurePath, PurePosixPath
from xml.etree.ElementTree import Element, ParseError  # types only; defusedxml parses

from cryodaq.domain.acquisition import AcquisitionMetadata
from cryodaq.domain.names import base_name_of_foreign_path
from cryodaq.errors import FormatError
from cryodaq.formats.times import iso_time

MAX_XML_BYTES = 8_000_000

_GRID_SQUARE = re.compile(r"GridSquare_(\d+)", re.ASCII)
_DIAMETER = re.compile(r"\d{1,4}(?:\.\d{1,3})?", re.ASCII)
_FOIL_HOLE = re.compile(r"FoilHole_(\d+)", re.ASCII)


def read_epu_xml(data: bytes, *, source: str) -> AcquisitionMetadata:
    """Return what an XML file of EPU says about its exposure.

    Parameters
    ----------
    source
        Path of the file below the session; it names grid square and foil hole.

    Raises
    ------
    FormatError
        It is not well-formed, no XML of EPU about an exposure, or a number in it is none.
    """
    document = parse_epu_document(data, path=PurePosixPath(source))
    if document.name == "MicroscopeImage":
        return _image(document)
    if document.name == "Acquisition":
        return _fractions(document)
    raise FormatError(document.path, problem=f"<{document.name}> is not what EPU writes about an exposure")


def parse_epu_document(data: bytes, *, path: PurePath) -> XmlDocument:
    """Return a document without entities or a document type. Raises FormatError for anything else."""
    from defusedxml import DefusedXmlException
    from defusedxml.ElementTree import fromstring

    if len(data) > MAX_XML_BYTES:
        raise FormatError(path, problem=f"it is larger than {MAX_XML_BYTES} bytes")
    try:
        root = fromstring(data, forbid_dtd=True)
    except (ParseError, DefusedXmlException, ValueError, LookupError) as error:
        raise FormatError(path, problem=f"it is not well-formed XML: {error}") from error
    return XmlDocument(root, path)


def _local(element: Element) -> str:
    return element.tag.rpartition("}")[2]


def _child(element: Element | None, name: str) -> Element | None:
    return next((child for child in element if _local(child) == name), None) if element is not None else None


class XmlDocument:
    """Finds values by their path of local names; EPU's namespaces change from version to version."""

    def __init__(self, root: Element, path: PurePath) -> None:
        self.path, self.name, self._root = path, _local(root), root

    @property
    def attributes(self) -> dict[str, str]:
        """The root's attributes by their local names."""
        return {name.rpartition("}")[2]: value for name, value in self._root.attrib.items()}

    def anywhere(self, name: str) -> str | None:
        """Return the text of the first element of a local name, wherever it is; None where it is empty or absent."""
        for element in self._root.iter():
            if _local(element) == name and (element.text or "").strip():
                return (element.text or "").strip()
        return None

    def element(self, steps: str) -> Element | None:
        """Return the first element on a path of local names below the root."""
        element: Element | None = self._root
        for step in steps.split("/"):
            element = _child(element, step)
        return element

    def text(self, steps: str) -> str | None:
        """Return the text at a path, None where it is empty or absent."""
        element = self.element(steps)
        return ((element.text or "").strip() or None) if element is not None else None

    def number(self, steps: str) -> float | None:
        """Return the number at a path; raises FormatError for what is none."""
        return self.as_number(self.text(steps), where=steps)

    def as_number(self, text: str | None, *, where: str) -> float | None:
        """Return a finite number, None for none; raises FormatError."""
        if text is None:
            return None
        try:
            number = float(text)
        except ValueError as error:
            raise FormatError(self.path, problem=f"{where} is {text[:40]!r} and no number") from error
        return number if math.isfinite(number) else None

    def keyed(self, steps: str) -> dict[str, Element]:
        """Return the values of a list of keys and values."""
        pairs = self.element(steps)
        found: dict[str, Element] = {}
        for pair in pairs if pairs is not None else ():
            key, value = _child(pair, "Key"), _child(pair, "Value")
            if key is not None and value is not None:
                found[key.text or ""] = value
        return found


def _value(values: Mapping[str, Element], key: str) -> str | None:
    element = values.get(key)
    return ((element.text or "").strip() or None) if element is not None else None


def _scaled(number: float | None, factor: float) -> float | None:
    return None if number is None else number * factor


def _image(document: XmlDocument) -> AcquisitionMetadata:
    """Return what `<MicroscopeImage>` says, the file beside each summed image."""
    custom = document.keyed("CustomData")
    camera = document.keyed("microscopeData/acquisition/camera/CameraSpecificInput")
    optics, stage = "microscopeData/optics", "microscopeData/stage/Position"
    total_dose = _scaled(document.as_number(_value(custom, "Dose"), where="Dose"), 1e-20)  # e/m² to e/Å²
    frame_count = _frame_count(document, camera)
    defocus = document.as_number(_value(custom, "AppliedDefocus"), where="AppliedDefocus")
    binning = document.number("microscopeData/acquisition/camera/Binning/x")
    factor = document.as_number(_value(camera, "SuperResolutionFactor"), where="SuperResolutionFactor")
    shift = (document.number(f"{optics}/BeamShift/_x"), document.number(f"{optics}/BeamShift/_y"))
    tilt = (document.number(f"{optics}/BeamTilt/_x"), document.number(f"{optics}/BeamTilt/_y"))
    detector = _detector(custom, document)
    gain = _value(custom, f"Detectors[{_value(custom, 'BinaryResult.Detector')}].GainReference")
    slit = _truth(document.text(f"{optics}/EnergyFilter/EnergySelectionSlitInserted"))
    filtered = slit if slit is not None else _truth(document.text(f"{optics}/EFTEMOn"))
    super_resolution = None if factor is None or binning is None else factor > max(binning, 1)
    return AcquisitionMetadata(
        source=document.path.name,
        pixel_size_ang=_scaled(document.number("SpatialScale/pixelSize/x/numericValue"), 1e10),
        voltage_kv=_scaled(document.number("microscopeData/gun/AccelerationVoltage"), 1e-3),
        total_dose_e_ang2=total_dose,
        dose_per_frame_e_ang2=total_dose / frame_count if total_dose is not None and frame_count else None,
        exposure_time_s=document.number("microscopeData/acquisition/camera/ExposureTime"),
        frame_count=frame_count,
        applied_defocus_ang=_scaled(defocus, -1e10),
        stage_x_um=_scaled(document.number(f"{stage}/X"), 1e6),
        stage_y_um=_scaled(document.number(f"{stage}/Y"), 1e6),
        stage_z_um=_scaled(document.number(f"{stage}/Z"), 1e6),
        tilt_deg=_scaled(document.number(f"{stage}/A"), 180 / math.pi),
        beam_shift_xy=None if shift[0] is None or shift[1] is None else (shift[0], shift[1]),
        beam_tilt_xy=None if tilt[0] is None or tilt[1] is None else (tilt[0], tilt[1]),
        camera=detector,
        detector_mode=_mode(_value(camera, "ElectronCountingEnabled"), super_resolution=super_resolution),
        binning=binning,
        super_resolution=super_resolution,
        acquired_at=iso_time(document.text("microscopeData/acquisition/acquisitionDateTime")),
        grid_square=_first(_GRID_SQUARE, str(document.path)),
        foil_hole=_first(_FOIL_HOLE, document.path.name),
        magnification=document.number(f"{optics}/TemMagnification/NominalMagnification"),
        gain_file_name=base_name_of_foreign_path(gain) if gain else None,
        software=_software(document),
        energy_filter=filtered,
        energy_slit_ev=document.number(f"{optics}/EnergyFilter/EnergySelectionSlitWidth") if filtered else None,
        phase_plate=_truth(_value(custom, "PhasePlateUsed")),
        c2_aperture_um=_diameter_um(_value(custom, "Aperture[C2].Name")),
        illumination_mode=document.text(f"{optics}/IlluminationMode"),
        imaging_mode=document.text(f"{optics}/ColumnOperatingTemSubMode"),
        electron_source=document.text("microscopeData/gun/Sourcetype"),
        instrument=document.text("microscopeData/instrument/InstrumentModel"),
    )


def _truth(text: str | None) -> bool | None:
    return {"true": True, "false": False}.get((text or "").lower())


def _diameter_um(name: str | None) -> float | None:
    """Return the diameter that an aperture is named after; others have names such as `None` or `Retracted`."""
    return float(name) if name is not None and _DIAMETER.fullmatch(name) else None


def _frame_count(document: XmlDocument, camera: Mapping[str, Element]) -> int | None:
    """Return the number of fractions; EPU says it as a number or lists them, and for EER not at all."""
    settings = camera.get("FractionationSettings")
    count = _child(settings, "NumberOffractions")
    if count is not None:
        number = document.as_number((count.text or "").strip() or None, where="NumberOffractions")
        return int(number) if number else None
    listed = _child(settings, "DoseFractions")
    return (len(listed) or None) if listed is not None else None


def _detector(custom: Mapping[str, Element], document: XmlDocument) -> str | None:
    key = _value(custom, "BinaryResult.Detector")
    for name in ("DetectorCommercialName", f"Detectors[{key}].CommercialName"):
        found = _value(custom, name)
        if found:
            return found
    return key or document.text("microscopeData/acquisition/camera/Name")


def _mode(counting: str | None, *, super_resolution: bool | None) -> str | None:
    if counting is None:
        return None
    if counting.lower() not in {"true", "on"}:
        return "linear"
    return "super-resolution" if super_resolution else "counting"


def _software(document: XmlDocument) -> str | None:
    name = document.text("microscopeData/core/ApplicationSoftware")
    version = document.text("microscopeData/core/ApplicationSoftwareVersion")
    return " ".join(part for part in (name, version) if part) or None


def _first(pattern: re.Pattern[str], text: str) -> str | None:
    found = pattern.search(text)
    return found[1] if found else None


def _fractions(document: XmlDocument) -> AcquisitionMetadata:
    """Return what `<Acquisition>` says, the file beside a movie of fractions."""
    if document.element("Info") is None:
        raise FormatError(document.path, problem="<Acquisition> lacks <Info>: EPU does not write that")
    fractions = document.element("Fractions")
    exposure_time_s = 0.0
    for fraction in fractions if fractions is not None else ():
        seconds = _child(fraction, "ExposureTime")
        text = (seconds.text or "").strip() if seconds is not None else ""
        exposure_time_s += document.as_number(text or None, where="ExposureTime") or 0.0
    expected = document.number("Info/ExpectedNumberOfFractions")
    return AcquisitionMetadata(
        source=document.path.name,
        exposure_time_s=exposure_time_s or None,
        frame_count=int(expected) if expected else None,
        camera=document.text("Info/Detector"),
        detector_mode=_mode(document.text("Info/ElectronCounting"), super_resolution=None),
        binning=document.number("Info/Binning"),
        acquired_at=iso_time(document.text("Fractions/Fraction/DateTimeWithTimeZone")),
        grid_square=_first(_GRID_SQUARE, str(document.path)),
        foil_hole=_first(_FOIL_HOLE, document.path.name),
    )
