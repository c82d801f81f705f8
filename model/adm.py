"""What the published denoiser has and the compact one has not: its resampling, and which skips it carries.

References
----------
The U-Net of Dhariwal & Nichol (2021), "ADM", with residual blocks that resample: so it has the 383 M weights of BS-LDM.
"""

from torch import nn

from model.layers import TimedBlock

__all__ = ["MOST_GROUPS", "DoublingBlock", "HalvingBlock", "adm_inputs"]

MOST_GROUPS = 32  # of its normalisations


class HalvingBlock(TimedBlock):
    """Residual block that halves rows and columns by averaging; channels stay."""

    def __init__(self, channels: int, embedding: int) -> None:
        super().__init__(channels, channels, embedding, MOST_GROUPS)
        self.resample = nn.AvgPool2d(2)


class DoublingBlock(TimedBlock):
    """Residual block that doubles rows and columns by repeating them; channels stay."""

    def __init__(self, channels: int, embedding: int) -> None:
        super().__init__(channels, channels, embedding, MOST_GROUPS)
        self.resample = nn.Upsample(scale_factor=2.0, mode="nearest")


def adm_inputs(widths: list[int], blocks: tuple[int, ...]) -> tuple[list[list[int]], list[list[int]]]:
    """Input channels of every residual block on the way down and on the way up, per level, finest first.

    What enters a level is a skip too, so that the way up has one block more; resampling keeps channels, so that the
    first block of a level changes them.
    """
    entering = [widths[0], *widths[:-1]]
    arriving = [*widths[1:], widths[-1]]
    down = [[enters, *[width] * (count - 1)] for enters, width, count in zip(entering, widths, blocks, strict=True)]
    up = [
        [arrives + width, *[2 * width] * (count - 1), width + enters]
        for arrives, width, count, enters in zip(arriving, widths, blocks, entering, strict=True)
    ]
    return down, up
