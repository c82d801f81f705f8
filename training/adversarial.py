"""The adversarial loss of the autoencoder: a discriminator that judges patches, with least squares.

Both sides go backward from one sum. Each of them sees the other's part detached, so that one pass gives the
autoencoder the gradient of its wish to be taken for real, and the discriminator that of its own judgement.
"""

from torch import Tensor, nn
from torch.func import functional_call

__all__ = ["PatchDiscriminator", "adversarial_losses"]

BASE, LAYERS = 64, 3  # those of BS-LDM: a patch of 70 px


class PatchDiscriminator(nn.Module):
    """Real or decoded, for each of many overlapping patches of 70 x 70 px.

    Batches are normalised by their own statistics, also when judging: none are kept, so that threads and processes
    do not share any.

    References
    ----------
    Isola et al. (2017), appendix 6.1.2.
    """

    def __init__(self, base: int = BASE, layers: int = LAYERS) -> None:
        super().__init__()
        widths = [base * min(2**level, 8) for level in range(layers + 1)]
        blocks: list[nn.Module] = [nn.Conv2d(1, base, 4, stride=2, padding=1), nn.LeakyReLU(0.2)]
        for level in range(1, layers + 1):
            stride = 2 if level < layers else 1
            blocks.append(nn.Conv2d(widths[level - 1], widths[level], 4, stride=stride, padding=1, bias=False))
            blocks += [nn.BatchNorm2d(widths[level], track_running_stats=False), nn.LeakyReLU(0.2)]
        self.judge = nn.Sequential(*blocks, nn.Conv2d(widths[-1], 1, 4, padding=1))
        for layer in self.judge:
            if isinstance(layer, nn.Conv2d):
                nn.init.normal_(layer.weight, 0.0, 0.02)  # as published

    def forward(self, image: Tensor) -> Tensor:
        """(B, 1, H, W) in [-1, 1], at least 32 x 32 -> (B, 1, h, w) judgements: 1 for real, 0 for decoded."""
        verdict: Tensor = self.judge(image)
        return verdict


def adversarial_losses(discriminator: nn.Module, real: Tensor, decoded: Tensor) -> tuple[Tensor, Tensor]:
    """What each side wants.

    Parameters
    ----------
    real, decoded : (B, 1, H, W) in [-1, 1].

    Returns
    -------
    of the autoencoder : its gradient reaches ``decoded`` and no weight of the discriminator.
    of the discriminator : its gradient reaches its weights and not ``decoded``.

    References
    ----------
    Mao et al. (2017), eq. 9 with a = 0, b = c = 1.
    """
    frozen = {name: weight.detach() for name, weight in discriminator.named_parameters()}
    fooled: Tensor = functional_call(discriminator, frozen, (decoded,))
    on_real, on_decoded = discriminator(real), discriminator(decoded.detach())
    of_autoencoder = (fooled.float() - 1).pow(2).mean()
    of_discriminator = 0.5 * ((on_real.float() - 1).pow(2).mean() + on_decoded.float().pow(2).mean())
    return of_autoencoder, of_discriminator
