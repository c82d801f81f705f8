"""The autoencoder: one radiograph of (1, H, W) to latents of (C, H / r, W / r) and back.

Its default bottleneck is continuous; the vector-quantised one of the paper is a word in the configuration.
Latents leave and enter standardised to mean 0 and deviation 1 per channel: the shift and scale are part of the weights.
"""

from contextlib import nullcontext
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from model.layers import Downsample, ResidualBlock, Upsample, conv
from model.vqvae import vqvae_decoder, vqvae_encoder

__all__ = ["Autoencoder", "AutoencoderConfig", "VectorQuantizer"]


@dataclass(frozen=True, slots=True)
class AutoencoderConfig:
    """Sizes. Downsampling r is ``patch * 2 ** (len(channels) - 1)``, or ``2 ** len(channels)`` of a `vqvae`.

    Attributes
    ----------
    patch : rows and columns that the stem packs into one position; a `vqvae` has no such stem.
    channels : width of each level, finest first; in `residual` each doubles or keeps the one before it.
    blocks : residual blocks of each level, in the encoder and again in the decoder.
    bottleneck : `continuous`, or `vq` with a codebook of ``codes`` entries.
    architecture : `residual` is cheap and resamples without loss; `vqvae` is the published one, see `model.vqvae`.
    unit_width : channels inside a residual unit of a `vqvae`.
    standardised : whether latents leave with mean 0 and deviation 1 per channel; the published ones do not.
    """

    patch: int = 4
    channels: tuple[int, ...] = (64, 128)
    blocks: tuple[int, ...] = (1, 2)
    latent_channels: int = 4
    bottleneck: Literal["continuous", "vq"] = "continuous"
    codes: int = 256
    architecture: Literal["residual", "vqvae"] = "residual"
    unit_width: int = 512
    standardised: bool = True

    @property
    def downsampling(self) -> int:
        """Rows of the image per row of the latents."""
        if self.architecture == "vqvae":
            return int(2 ** len(self.channels))
        return int(self.patch * 2 ** (len(self.channels) - 1))


class VectorQuantizer(nn.Module):
    """Nearest entry of a codebook that follows the data by an exponential moving average.

    References
    ----------
    van den Oord et al. (2017), appendix A.1. Decay .5 and 256 codes of 4 numbers are those of BS-LDM.
    """

    codebook: Tensor
    counts: Tensor
    sums: Tensor

    def __init__(self, codes: int, channels: int, decay: float = 0.5) -> None:
        super().__init__()
        self.decay = decay
        self.register_buffer("codebook", torch.randn(codes, channels))
        self.register_buffer("counts", torch.ones(codes))
        self.register_buffer("sums", self.codebook.clone())

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Quantised latents with a straight-through gradient, and the commitment loss (to be weighted by .25).

        Parameters
        ----------
        z : (B, C, h, w).
        """
        # Neighbouring codes differ by less than bfloat16 tells apart, so autocast has to stay away from them.
        device = z.device.type
        known = torch.amp.is_autocast_available(device)  # not on `meta`, where weights are only counted
        with torch.autocast(device, enabled=False) if known else nullcontext():
            return self._quantised(z.float())

    def _quantised(self, z: Tensor) -> tuple[Tensor, Tensor]:
        flat = z.movedim(1, -1).reshape(-1, z.shape[1])
        distance = flat.pow(2).sum(1, keepdim=True) - 2 * flat @ self.codebook.T + self.codebook.pow(2).sum(1)
        index = distance.argmin(dim=1)
        if self.training:
            self._follow(flat.detach(), index)
        quantised = self.codebook[index].reshape(z.shape[0], z.shape[2], z.shape[3], z.shape[1]).movedim(-1, 1)
        commitment = functional.mse_loss(z, quantised.detach())
        return z + (quantised - z).detach(), commitment

    @torch.no_grad()
    def _follow(self, flat: Tensor, index: Tensor) -> None:
        one_hot = functional.one_hot(index, self.codebook.shape[0]).to(flat.dtype)
        self.counts.lerp_(one_hot.sum(0), 1 - self.decay)
        self.sums.lerp_(one_hot.T @ flat, 1 - self.decay)
        used = self.counts > 1e-3  # an entry nobody chose keeps its place
        self.codebook[used] = self.sums[used] / self.counts[used, None]


def _residual_encoder(config: AutoencoderConfig) -> nn.Sequential:
    widths = config.channels
    layers: list[nn.Module] = [nn.PixelUnshuffle(config.patch), conv(config.patch**2, widths[0])]
    for level, (width, blocks) in enumerate(zip(widths, config.blocks, strict=True)):
        layers += [Downsample(widths[level - 1], width)] if level else []
        layers += [ResidualBlock(width) for _ in range(blocks)]
    return nn.Sequential(*layers, nn.SiLU(), conv(widths[-1], config.latent_channels))


def _residual_decoder(config: AutoencoderConfig) -> nn.Sequential:
    widths = config.channels
    layers: list[nn.Module] = [conv(config.latent_channels, widths[-1])]
    for level in range(len(widths) - 1, -1, -1):
        layers += [ResidualBlock(widths[level]) for _ in range(config.blocks[level])]
        layers += [Upsample(widths[level], widths[level - 1])] if level else []
    return nn.Sequential(*layers, nn.SiLU(), conv(widths[0], config.patch**2), nn.PixelShuffle(config.patch))


class Autoencoder(nn.Module):
    """Encoder, bottleneck, decoder.

    Attributes
    ----------
    latent_mean, latent_std : (C, 1, 1) buffers, of the raw latents; set by `set_statistics`, saved with the weights.
    """

    latent_mean: Tensor
    latent_std: Tensor

    def __init__(self, config: AutoencoderConfig) -> None:
        super().__init__()
        self.config = config
        latents = config.latent_channels
        if config.architecture == "vqvae":
            sizes = config.channels, config.blocks, config.unit_width, latents
            self.encoder, self.decoder = vqvae_encoder(*sizes), vqvae_decoder(*sizes)
        else:
            self.encoder, self.decoder = _residual_encoder(config), _residual_decoder(config)
        self.quantizer = VectorQuantizer(config.codes, latents) if config.bottleneck == "vq" else None
        self.register_buffer("latent_mean", torch.zeros(latents, 1, 1))
        self.register_buffer("latent_std", torch.ones(latents, 1, 1))

    def encode(self, image: Tensor) -> Tensor:
        """Image -> standardised latents.

        Parameters
        ----------
        image : (B, 1, H, W) in [-1, 1]; H and W multiples of the downsampling.

        Returns
        -------
        (B, C, H / r, W / r), about mean 0 and deviation 1 per channel; not quantised, `decode` does that.
        """
        return (self.encode_raw(image) - self.latent_mean) / self.latent_std

    def decode(self, latents: Tensor) -> Tensor:
        """Standardised latents (B, C, h, w) -> image (B, 1, h * r, w * r), not clipped to [-1, 1]."""
        return self.decode_raw(latents * self.latent_std + self.latent_mean)[0]

    def encode_raw(self, image: Tensor) -> Tensor:
        """Image -> latents in the encoder's own units, for the autoencoder's training."""
        latents: Tensor = self.encoder(image)
        return latents

    def decode_raw(self, latents: Tensor) -> tuple[Tensor, Tensor]:
        """Latents in the encoder's own units -> image, and the commitment loss of a quantised bottleneck (else 0)."""
        commitment = latents.new_zeros(())
        if self.quantizer is not None:
            latents, commitment = self.quantizer(latents)
        image: Tensor = self.decoder(latents)
        return image, commitment

    @torch.no_grad()
    def set_statistics(self, raw_latents: Tensor) -> None:
        """Take mean and deviation per channel from a sample of raw latents (N, C, h, w), if they are standardised."""
        if not self.config.standardised:
            return
        self.latent_mean.copy_(raw_latents.mean(dim=(0, 2, 3))[:, None, None])
        self.latent_std.copy_(raw_latents.std(dim=(0, 2, 3)).clamp_min(1e-6)[:, None, None])
