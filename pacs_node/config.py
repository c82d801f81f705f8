"""config.toml -> validated settings; an unknown key is an error, and all errors are told at once.

The order, later wins: the defaults below, the file, the environment (``PACS_NODE_NODE__PORT=11113``), the command line.
The file is the one that ``--config`` names, else ``./config.toml``, else the one that comes with the package.
"""

import json
import os
import tomllib
from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pacs_node.config_schema import allowed, nearest_key, schema_at
from pacs_node.errors import ConfigError

__all__ = [
    "DeliverySettings",
    "Device",
    "GateSettings",
    "GuardSettings",
    "ModelSettings",
    "NodeSettings",
    "OutputSettings",
    "Peer",
    "Precision",
    "ProviderOptions",
    "RoutingSettings",
    "Settings",
    "StoredSyntax",
    "config_file",
    "load_settings",
    "packaged_config_file",
]

ENVIRONMENT_PREFIX = "PACS_NODE_"
CONFIG_NAME = "config.toml"

# PS3.5 6.2, VR AE: 16 bytes at most, default repertoire without backslash; spaces at the ends are not significant.
AETitle = Annotated[
    str,
    Field(
        max_length=16,
        pattern=r"^[!-\[\]-~]([ -\[\]-~]*[!-\[\]-~])?$",
        description="1 to 16 ASCII characters, no backslash, no space at either end",
    ),
]
Port = Annotated[int, Field(ge=1, le=65535)]
Host = Annotated[str, Field(min_length=1, description="a host name or an IP address")]
LONGEST_WAIT_S = 86400  # a day: more than a peer is waited for, and within what sockets, timers and the queue hold
Seconds = Annotated[float, Field(gt=0, le=LONGEST_WAIT_S)]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Device(StrEnum):
    """Where the network runs."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"
    TENSORRT = "tensorrt"
    OPENVINO = "openvino"


class Precision(StrEnum):
    """What the network computes in; images and layers are float32 in any case."""

    AUTO = "auto"
    FP32 = "fp32"
    FP16 = "fp16"


class StoredSyntax(StrEnum):
    """How companions are stored in outbox/."""

    EXPLICIT = "explicit"
    RLE = "rle"
    JPEG_LS = "jpeg-ls"
    JPEG2000 = "jpeg2000"


class NodeSettings(_Table):
    """[node]: who we are and where we listen."""

    ae_title: AETitle = "PACSNODE"
    host: Host = "127.0.0.1"
    port: Port = 11112
    data_dir: Annotated[Path, Field(description="a folder")] = Path("var")
    max_associations: Annotated[int, Field(ge=1, le=1000)] = 25
    max_pdu_bytes: Annotated[int, Field(ge=16384, le=16 * 2**20)] = 2**20
    network_timeout_s: Seconds = 60.0
    parallel_images: Annotated[int, Field(ge=0, le=64)] = 0


# Also the name of a folder in outbox/, so it neither starts with a dot nor holds a separator.
PeerName = Annotated[
    str, Field(pattern=r"^[A-Za-z0-9_-][A-Za-z0-9_.-]*$", description="letters, digits and any of _ . -, no dot first")
]


class Peer(_Table):
    """[[peers]]: a DICOM node that takes C-STORE."""

    name: PeerName
    ae_title: AETitle
    host: Host
    port: Port


class RoutingSettings(_Table):
    """[routing]: which peers get companions."""

    destinations: Annotated[tuple[str, ...], Field(description="a list of the names of [[peers]]")] = ("pacs",)


class DeliverySettings(_Table):
    """[delivery]: how patient a transfer is."""

    first_retry_s: Seconds = 5.0
    max_retry_s: Seconds = 900.0
    give_up_after_h: Annotated[float, Field(gt=0)] = 168.0
    timeout_s: Seconds = 60.0
    keep_open_s: Annotated[float, Field(ge=0, le=LONGEST_WAIT_S)] = 5.0


OptionsOfProvider = Annotated[
    dict[str, str | int | float | bool], Field(description="a table of texts, numbers, true or false")
]


class ProviderOptions(_Table):
    """[model.provider_options]: what ONNX Runtime's execution provider for a device is given, by its own names."""

    cuda: OptionsOfProvider = {}
    tensorrt: OptionsOfProvider = {}
    openvino: OptionsOfProvider = {}


class ModelSettings(_Table):
    """[model]: which network, where and how long."""

    bundle: Annotated[
        str, Field(min_length=1, description='"default", "careful" or a folder that holds a bundle.json')
    ] = "default"
    device: Device = Device.AUTO
    steps: Annotated[int, Field(ge=0, le=1000)] = 0
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    threads: Annotated[int, Field(ge=0)] = 0
    precision: Precision = Precision.AUTO
    max_batch: Annotated[int, Field(ge=0, le=64)] = 0
    provider_options: ProviderOptions = ProviderOptions()


# PS3.5 6.2, VR LO: 64 characters at most, no backslash, no control characters.
LongString = Annotated[
    str,
    Field(
        max_length=64, pattern=r"^[^\\\x00-\x1f\x7f]+$", description="1 to 64 characters, no backslash, no line break"
    ),
]


class OutputSettings(_Table):
    """[output]: what the companion says about itself."""

    series_description: LongString = "SOFT TISSUE (AI)"
    series_number: Annotated[int, Field(ge=0, le=2**31 - 1)] = 9701
    modality: Literal["source", "OT"] = "source"
    burned_in_label: bool = True
    content_qualification: Literal["RESEARCH", "PRODUCT", "SERVICE"] = "RESEARCH"
    transfer_syntax: StoredSyntax = StoredSyntax.EXPLICIT
    bone_image: bool = False
    presentation_states: bool = False
    key_object: bool = False


class GateSettings(_Table):
    """[gate]: which radiographs are processed."""

    body_parts: Annotated[tuple[str, ...], Field(description="a list of values of BodyPartExamined")] = (
        "CHEST",
        "THORAX",
        "TORAX",  # Spanish and Portuguese consoles
        "TORACE",  # Italian ones
        "LUNG",
        "RIB",
    )
    pixels: bool = True
    polarity: Literal["correct", "refuse"] = "correct"
    min_age_years: Annotated[float, Field(ge=0, le=130)] = 0.0


Bound = Annotated[float, Field(gt=0)]


class GuardSettings(_Table):
    """[guard]: how far a result may go; what the figures mean is in docs/guard.md."""

    withhold: bool = True
    second_seed: bool = False
    largest_change: Bound = 0.5
    outside_bone: Bound = 0.01
    beyond_views: Bound = 1.0
    views_apart: Bound = 0.12
    seeds_apart: Bound = 0.12
    unexplained_change: Bound = 0.045
    low_frequency_shift: Bound = 0.06
    displacement_px: Bound = 0.4
    tile_ratio: Bound = 3.2
    clipped_share: Bound = 0.05

    def bounds(self) -> dict[str, float]:
        """Every bound by the name of its figure."""
        return self.model_dump(exclude={"withhold", "second_seed"})


class Settings(_Table):
    """Everything that can be configured. Peers and destinations have no default: nothing leaves without being named."""

    node: NodeSettings = NodeSettings()
    peers: tuple[Peer, ...] = ()
    routing: RoutingSettings = RoutingSettings(destinations=())
    delivery: DeliverySettings = DeliverySettings()
    model: ModelSettings = ModelSettings()
    output: OutputSettings = OutputSettings()
    gate: GateSettings = GateSettings()
    guard: GuardSettings = GuardSettings()


def config_file(path: Path | None = None) -> Path:
    """The file that settings are read from: ``path``, else ``./config.toml``, else the one of the package.

    Raises
    ------
    ConfigError
        ``path`` is given and is no file.
    """
    if path is not None:
        if not path.is_file():
            raise ConfigError(f"{path} is not a file; --config wants the path of a TOML file")
        return path
    here = Path(CONFIG_NAME)
    return here if here.is_file() else packaged_config_file()


def packaged_config_file() -> Path:
    """The file with every default; in the repository a link to the one at the top."""
    return Path(__file__).parent / CONFIG_NAME


def load_settings(path: Path | None = None, overrides: Mapping[str, object] | None = None) -> Settings:
    """Read and check every setting.

    Parameters
    ----------
    path : the file; None looks for one, see `config_file`.
    overrides : values of the command line by key, such as ``{"node.port": 11113}``.

    Returns
    -------
    Settings, with an absolute ``node.data_dir``.

    Raises
    ------
    ConfigError
        One line for each problem: origin, key, what was given, what is allowed.
    """
    source = config_file(path)
    origins = _Origins(str(source))
    data = _parse(source)
    problems: list[str] = []
    for name, keys, text in _environment(os.environ):
        _put(data, keys, _from_text(keys, text), problems, name)
        origins.by_key[".".join(keys)] = name
    for key, value in (overrides or {}).items():
        _put(data, key.split("."), value, problems, "the command line")
        origins.by_key[key] = "the command line"
    settings = Settings()
    try:
        # Strict, so that port = true is no 1; as JSON, because a path or a word is a text there in strict mode, too.
        settings = Settings.model_validate_json(json.dumps(data, default=str), strict=True)
    except ValidationError as error:
        problems += [_problem(origins, dict(item)) for item in error.errors(include_url=False)]
    problems += _contradictions(origins, data)
    if problems:
        raise ConfigError("the configuration cannot be used:\n" + "\n".join(f"  {line}" for line in problems))
    try:
        data_dir = Path.cwd() / settings.node.data_dir.expanduser()
    except RuntimeError as error:  # ~NAME of nobody
        raise ConfigError(f"{origins.of(('node', 'data_dir'))}: node.data_dir names no user of this machine") from error
    return settings.model_copy(update={"node": settings.node.model_copy(update={"data_dir": data_dir})})


class _Origins:
    """Where each value came from, for messages."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.by_key: dict[str, str] = {}

    def of(self, keys: Sequence[str | int]) -> str:
        """Origin of a key, of a table around it, or of a key inside it."""
        path = ".".join(str(key) for key in keys)
        inside = [key for key in self.by_key if f"{key}.".startswith(f"{path}.")]
        around = [".".join(str(key) for key in keys[:length]) for length in range(len(keys), 0, -1)]
        return next((self.by_key[key] for key in (*around, *inside) if key in self.by_key), self.file)


def _parse(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))  # some editors begin a file with a mark
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 text") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path} is not valid TOML: {error}") from error


def _environment(environ: Mapping[str, str]) -> list[tuple[str, list[str], str]]:
    """(variable, keys, text) of every override; a name without ``__`` is one only when it names a list at the top."""
    found = []
    for name in sorted(environ):
        keys = name.removeprefix(ENVIRONMENT_PREFIX).lower().split("__")
        if name.startswith(ENVIRONMENT_PREFIX) and (len(keys) > 1 or keys == ["peers"]):
            found.append((name, keys, environ[name]))
    return found


def _from_text(keys: Sequence[str], text: str) -> object:
    """What a text in the environment stands for: a list or table is JSON or TOML, the rest as in TOML."""
    kind = (schema_at(Settings.model_json_schema(), keys) or {}).get("type")
    if kind not in ("array", "object", "integer", "number", "boolean"):
        return text
    for parse in (json.loads, lambda value: tomllib.loads(f"value = {value}")["value"]):
        try:
            return parse(text.lower() if kind == "boolean" else text)
        except ValueError:
            continue
    return text


def _put(data: dict[str, Any], keys: Sequence[str], value: object, problems: list[str], origin: str) -> None:
    table = data
    for key in keys[:-1]:
        table = table.setdefault(key, {})
        if isinstance(table, list):
            problems.append(f"{origin}: {key} is a list; give all of it as {ENVIRONMENT_PREFIX}{key.upper()}='[...]'")
        elif not isinstance(table, dict) and schema_at(Settings.model_json_schema(), keys) is None:
            problems.append(f"{origin}: {'.'.join(keys)} is unknown")
        if not isinstance(table, dict):
            return  # where a table belongs, the value that stands there is a problem of its own
    table[keys[-1]] = value


def _problem(origins: _Origins, error: Mapping[str, Any]) -> str:
    keys = error["loc"]
    dotted = ".".join(str(key) for key in keys)
    schema = Settings.model_json_schema()
    origin = origins.of(keys)
    if error["type"] == "extra_forbidden":
        near = nearest_key(schema, ".".join(key for key in keys if isinstance(key, str)))
        return f"{origin}: {dotted} is unknown" + (f"; the nearest known key is {near}" if near else "")
    wanted = allowed(schema_at(schema, keys) or {})
    if error["type"] == "missing":
        return f"{origin}: {dotted} is missing; it takes {wanted}"
    return f"{origin}: {dotted} = {error['input']!r} is not allowed; it takes {wanted}"


def _texts(value: object) -> list[str]:
    return [item for item in value if isinstance(item, str)] if isinstance(value, (list, tuple)) else []


def _contradictions(origins: _Origins, data: Mapping[str, Any]) -> list[str]:
    """Problems between keys, found on the raw values so that they are told together with the others."""
    listed = data.get("peers", [])
    peers = [peer for peer in listed if isinstance(peer, dict)] if isinstance(listed, list) else []
    names = _texts([peer.get("name") for peer in peers])
    routing = data.get("routing", {})
    destinations = _texts(routing.get("destinations", ["pacs"])) if isinstance(routing, dict) else []
    where = origins.of(("routing", "destinations"))
    problems = [f"{origins.of(('peers',))}: peers.name = {name!r} stands twice" for name in _repeated(names)]
    problems += [f"{where}: routing.destinations names {name!r} twice" for name in _repeated(destinations)]
    if "routing" not in data:
        told = f"routing.destinations is missing; name those of {', '.join(names)} that get companions, or [] for none"
        return [*problems, f"{origins.file}: {told}"] if names else problems
    for name in sorted(set(destinations) - set(names)):
        known = f"the peers are {', '.join(sorted(set(names)))}" if names else "there is no [[peers]] table"
        problems.append(f"{where}: routing.destinations names {name!r}, which is no peer; {known}")
    return problems


def _repeated(names: Sequence[str]) -> list[str]:
    return sorted({name for name in names if names.count(name) > 1})
