"""config.toml -> validated settings; an unknown key is an error."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

__all__ = [
    "DeliverySettings",
    "GateSettings",
    "ModelSettings",
    "NodeSettings",
    "OutputSettings",
    "Peer",
    "RoutingSettings",
    "Settings",
]

AETitle = Annotated[str, Field(min_length=1, max_length=16, pattern=r"^[ -\[\]-~]+$")]  # PS3.5 6.2: no backslash
Port = Annotated[int, Field(ge=1, le=65535)]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Device(StrEnum):
    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"


class StoredSyntax(StrEnum):
    EXPLICIT = "explicit"
    RLE = "rle"
    JPEG_LS = "jpeg-ls"
    JPEG2000 = "jpeg2000"


class NodeSettings(_Table):
    ae_title: AETitle = "PACSNODE"
    host: str = "127.0.0.1"
    port: Port = 11112
    data_dir: Path = Path("var")
    max_associations: Annotated[int, Field(ge=1, le=1000)] = 25
    max_pdu_bytes: Annotated[int, Field(ge=16384, le=16 * 2**20)] = 2**20
    network_timeout_s: Annotated[float, Field(gt=0)] = 60.0


class Peer(_Table):
    name: Annotated[str, Field(min_length=1, pattern=r"^[A-Za-z0-9_.-]+$")]
    ae_title: AETitle
    host: str
    port: Port


class RoutingSettings(_Table):
    destinations: tuple[str, ...] = ("pacs",)


class DeliverySettings(_Table):
    first_retry_s: Annotated[float, Field(gt=0)] = 5.0
    max_retry_s: Annotated[float, Field(gt=0)] = 900.0
    give_up_after_h: Annotated[float, Field(gt=0)] = 168.0
    timeout_s: Annotated[float, Field(gt=0)] = 60.0


class ModelSettings(_Table):
    bundle: str = "default"
    device: Device = Device.AUTO
    steps: Annotated[int, Field(ge=0, le=1000)] = 0
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    threads: Annotated[int, Field(ge=0)] = 0


class OutputSettings(_Table):
    series_description: Annotated[str, Field(min_length=1, max_length=64)] = "SOFT TISSUE (AI)"
    series_number: Annotated[int, Field(ge=0, lt=2**31)] = 9701
    modality: str = "source"
    burned_in_label: bool = True
    content_qualification: str = "RESEARCH"
    transfer_syntax: StoredSyntax = StoredSyntax.EXPLICIT


class GateSettings(_Table):
    body_parts: tuple[str, ...] = ("CHEST", "THORAX", "LUNG", "RIB")


class Settings(_Table):
    node: NodeSettings = NodeSettings()
    peers: tuple[Peer, ...] = ()
    routing: RoutingSettings = RoutingSettings(destinations=())
    delivery: DeliverySettings = DeliverySettings()
    model: ModelSettings = ModelSettings()
    output: OutputSettings = OutputSettings()
    gate: GateSettings = GateSettings()
