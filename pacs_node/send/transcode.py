"""The same object in the uncompressed transfer syntax that a peer took: values and pixels untouched."""

from pydicom import Dataset
from pydicom.uid import UID

from pacs_node.derive.inherited import LOSSY_METHODS
from pacs_node.derive.verbatim import raw_elements, stamp

__all__ = ["Unconvertible", "converted"]

DECODERS = ("pydicom", "pyjpegls", "pylibjpeg", "pillow")


class Unconvertible(Exception):
    """The pixel data cannot be decoded into an uncompressed transfer syntax."""


def converted(ds: Dataset, syntax: UID) -> Dataset:
    """Decode the pixels if they are compressed and frame the elements anew.

    Parameters
    ----------
    ds : Dataset as read, with file meta information; its pixel data is replaced by the decoded one.
    syntax : Explicit or Implicit VR Little Endian.

    Raises
    ------
    Unconvertible
        No decoder for it, or it is damaged.
    """
    source_syntax = ds.file_meta.TransferSyntaxUID
    if source_syntax.is_encapsulated:
        _decompress(ds)
        if source_syntax in LOSSY_METHODS and "LossyImageCompression" not in ds:  # PS3.3 C.7.6.1.1.5
            ds.LossyImageCompression = "01"
            ds.LossyImageCompressionMethod = LOSSY_METHODS[source_syntax]
    ds.file_meta.TransferSyntaxUID = syntax
    return stamp(ds.file_meta, raw_elements(ds, is_implicit=syntax.is_implicit_VR))


def _decompress(ds: Dataset) -> None:
    """Decode with the first plugin that can; never with GDCM, which ends the whole process on some damaged frames."""
    for plugin in DECODERS:
        try:
            ds.decompress(decoding_plugin=plugin, generate_instance_uid=False)
        except Exception:  # noqa: BLE001, S112  each decoder has its own errors, and the next one may read it
            continue
        return
    raise Unconvertible
