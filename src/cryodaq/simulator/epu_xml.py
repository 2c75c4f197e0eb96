"""The image XML of EPU 3: the namespaces, paths and units of the real files, without what nobody reads."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from html import escape

EPU_VERSION = "3.9.1.8206"
CAMERA_NAME = "EF-CCD"
DETECTOR_NAME = "BioQuantum K3"

_ARRAYS = "http://schemas.microsoft.com/2003/10/Serialization/Arrays"
_SCHEMA = "http://www.w3.org/2001/XMLSchema"
_DRAWING = "http://schemas.datacontract.org/2004/07/System.Drawing"
_TYPES = "http://schemas.datacontract.org/2004/07/Fei.Types"
_UNIT = (
    '<unit xmlns:a="http://schemas.datacontract.org/2004/07/Fei.Common.Types">'
    "<a:_x003C_PrefixExponent_x003E_k__BackingField>1</a:_x003C_PrefixExponent_x003E_k__BackingField>"
    "<a:_x003C_Symbol_x003E_k__BackingField>m</a:_x003C_Symbol_x003E_k__BackingField></unit>"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class EpuImage:
    """One image as EPU describes it, in the project's units."""

    identity: uuid.UUID
    acquired_at: datetime
    shape_yx: tuple[int, int]
    pixel_size_ang: float
    magnification: int
    voltage_kv: float
    applied_defocus_ang: float
    """As EPU signs it: negative is underfocus."""
    exposure_time_s: float
    dose_e_ang2: float
    stage_um_xyz: tuple[float, float, float]
    beam_shift_xy: tuple[float, float] = (0.0, 0.0)
    fractions: int | None = None
    """Frames of the movie; None for a picture."""


def describe_image(image: EpuImage) -> str:
    """Write the XML of an image."""
    return (
        '<MicroscopeImage xmlns="http://schemas.datacontract.org/2004/07/Fei.SharedObjects" '
        'xmlns:i="http://www.w3.org/2001/XMLSchema-instance">'
        f"<name>Empty</name><uniqueID>{image.identity}</uniqueID>"
        f'<CustomData xmlns:a="{_ARRAYS}">{"".join(_custom_values(image))}</CustomData>'
        f'<IntensityScale i:nil="true"/>{_spatial_scale(image)}'
        f"<microscopeData>{_acquisition(image)}{_core(image)}{_gun(image)}{_instrument()}{_optics(image)}"
        f'<sample><Description i:nil="true"/><ID i:nil="true"/></sample>{_stage(image)}'
        "<vacuum><ProjectionChamberPressure>0</ProjectionChamberPressure>"
        "<SamplePressure>0</SamplePressure><VacuumMode>Ready</VacuumMode></vacuum>"
        "</microscopeData></MicroscopeImage>"
    )


def _custom_values(image: EpuImage) -> Iterable[str]:
    dose_e_px = image.dose_e_ang2 * image.pixel_size_ang**2
    yield _pair("DoseOnCamera", "double", repr(dose_e_px))
    for aperture, name in (("C1", "2000"), ("C2", "50"), ("C3", "None"), ("OBJ", "100"), ("SA", "None")):
        yield _pair(f"Aperture[{aperture}].Name", "string", name)
    yield _pair("StemMagnification", "boolean", "false")
    yield _pair(f"Detectors[{CAMERA_NAME}].CommercialName", "string", DETECTOR_NAME)
    yield _pair(f"Detectors[{CAMERA_NAME}].ElectronCounted", "boolean", "true")
    yield _pair("DoseRate", "double", repr(dose_e_px / image.exposure_time_s))
    yield _pair("Dose", "double", repr(image.dose_e_ang2 * 1e20))
    yield _pair("PhasePlateUsed", "boolean", "false")
    yield _pair("BinaryResult.Detector", "string", CAMERA_NAME)
    yield _pair("DetectorCommercialName", "string", DETECTOR_NAME)
    yield _pair("AppliedDefocus", "double", repr(image.applied_defocus_ang * 1e-10))


def _pair(key: str, kind: str, value: str) -> str:
    return (
        f"<a:KeyValueOfstringanyType><a:Key>{escape(key)}</a:Key>"
        f'<a:Value i:type="b:{kind}" xmlns:b="{_SCHEMA}">{escape(value)}</a:Value></a:KeyValueOfstringanyType>'
    )


def _spatial_scale(image: EpuImage) -> str:
    length = f"<numericValue>{image.pixel_size_ang * 1e-10!r}</numericValue>{_UNIT}"
    origin = f"<numericValue>0</numericValue>{_UNIT}"
    return (
        f"<SpatialScale><offset><x>{origin}</x><y>{origin}</y></offset>"
        f"<pixelSize><x>{length}</x><y>{length}</y></pixelSize></SpatialScale>"
    )


def _acquisition(image: EpuImage) -> str:
    return (
        f"<acquisition><acquisitionDateTime>{_long_time(image.acquired_at)}</acquisitionDateTime>"
        "<analyticalDetectors/><camera>"
        f'<Binning xmlns:a="{_DRAWING}"><a:x>1</a:x><a:y>1</a:y></Binning>'
        "<CameraLocation>EnergyFilter</CameraLocation>"
        f'<CameraSpecificInput xmlns:a="{_ARRAYS}">'
        f"{_pair('AlignIntegratedImageEnabled', 'boolean', 'false')}"
        f"{_pair('SuperResolutionFactor', 'long', '1')}{_fractionation(image)}"
        f"{_pair('ElectronCountingEnabled', 'boolean', 'true')}{_pair('FixedReadoutArea', 'string', 'Full')}"
        "</CameraSpecificInput><DarkGainCorrection>None</DarkGainCorrection>"
        f"<ExposureTime>{image.exposure_time_s:g}</ExposureTime>"
        f"<FixedReadoutArea>Full</FixedReadoutArea><Inserted>true</Inserted><Name>{CAMERA_NAME}</Name>"
        "<PreExposureTime>0</PreExposureTime>"
        f'<ReadoutArea xmlns:a="{_DRAWING}"><a:height>{image.shape_yx[0]}</a:height>'
        f"<a:width>{image.shape_yx[1]}</a:width><a:x>0</a:x><a:y>0</a:y></ReadoutArea>"
        "<Shutter>PreSpecimen</Shutter></camera></acquisition>"
    )


def _fractionation(image: EpuImage) -> str:
    if image.fractions is None:
        return (
            "<a:KeyValueOfstringanyType><a:Key>FractionationSettings</a:Key>"
            '<a:Value i:nil="true"/></a:KeyValueOfstringanyType>'
        )
    interface = "http://schemas.datacontract.org/2004/07/Fei.Applications.Common.Omp.Interface"
    return (
        "<a:KeyValueOfstringanyType><a:Key>FractionationSettings</a:Key>"
        f'<a:Value i:type="b:EquidistantFractionation" xmlns:b="{interface}">'
        f"<b:NumberOffractions>{image.fractions}</b:NumberOffractions></a:Value></a:KeyValueOfstringanyType>"
    )


def _core(image: EpuImage) -> str:
    return (
        "<core><ApplicationSoftware>EPU</ApplicationSoftware>"
        f"<ApplicationSoftwareVersion>{EPU_VERSION}</ApplicationSoftwareVersion>"
        f"<Guid>{uuid.uuid5(image.identity, 'core')}</Guid></core>"
    )


def _gun(image: EpuImage) -> str:
    return (
        f"<gun><AccelerationVoltage>{image.voltage_kv * 1000:g}</AccelerationVoltage>"
        "<ExtractorVoltage>4250</ExtractorVoltage><GunLens>4</GunLens>"
        "<Sourcetype>FieldEmission</Sourcetype></gun>"
    )


def _instrument() -> str:
    return (
        "<instrument><ComputerName>SIMULATOR</ComputerName><InstrumentID>1</InstrumentID>"
        "<InstrumentModel>TITAN-SIMULATED</InstrumentModel></instrument>"
    )


def _optics(image: EpuImage) -> str:
    shift_x, shift_y = image.beam_shift_xy
    return (
        "<optics><BeamDiameter>8.3E-07</BeamDiameter>"
        f'<BeamShift xmlns:a="{_TYPES}"><a:_x>{shift_x!r}</a:_x><a:_y>{shift_y!r}</a:_y></BeamShift>'
        f'<BeamTilt xmlns:a="{_TYPES}"><a:_x>0</a:_x><a:_y>0</a:_y></BeamTilt>'
        "<ColumnOperatingMode>TEM</ColumnOperatingMode>"
        "<ColumnOperatingTemSubMode>BrightField</ColumnOperatingTemSubMode>"
        f"<Defocus>{image.applied_defocus_ang * 1e-10!r}</Defocus><EFTEMOn>true</EFTEMOn>"
        "<EnergyFilter><EnergySelectionSlitInserted>true</EnergySelectionSlitInserted>"
        "<EnergySelectionSlitWidth>20</EnergySelectionSlitWidth></EnergyFilter>"
        "<IlluminationMode>Parallel</IlluminationMode>"
        f'<ImageShift xmlns:a="{_TYPES}"><a:_x>0</a:_x><a:_y>0</a:_y></ImageShift>'
        "<ProbeMode>NanoProbe</ProbeMode><ProjectorMode>Imaging</ProjectorMode><SpotIndex>5</SpotIndex>"
        f"<TemMagnification><NominalMagnification>{image.magnification}</NominalMagnification>"
        "</TemMagnification></optics>"
    )


def _stage(image: EpuImage) -> str:
    x, y, z = (micrometres * 1e-6 for micrometres in image.stage_um_xyz)
    return (
        "<stage><Holder>Unspecified</Holder><Position><A>0</A><B>0</B>"
        f"<X>{x!r}</X><Y>{y!r}</Y><Z>{z!r}</Z></Position><SampleLoader>None</SampleLoader></stage>"
    )


def _long_time(moment: datetime) -> str:
    """ISO 8601 with the seven digits of .NET."""
    text = moment.isoformat(timespec="microseconds")
    return text[:26] + "0" + text[26:]
