"""The autoencoder without standardised latents is the same autoencoder."""

import torch

from model.autoencoder import Autoencoder
from training.ablate.networks import unstandardised
from training.preset import Preset


def test_latents_in_the_encoders_own_units_decode_to_the_same_image(ablation: Preset) -> None:
    torch.manual_seed(0)
    standard = Autoencoder(ablation.autoencoder).eval().requires_grad_(False)
    images = torch.rand(2, 1, 64, 64) * 2 - 1
    standard.set_statistics(standard.encode_raw(images))
    raw = unstandardised(standard)
    torch.testing.assert_close(raw.encode(images), standard.encode(images) * standard.latent_std + standard.latent_mean)
    torch.testing.assert_close(
        raw.decode(raw.encode(images)), standard.decode(standard.encode(images)), rtol=0, atol=1e-6
    )  # rounding of the shift and back
    assert not torch.allclose(raw.encode(images), standard.encode(images), atol=0.1)
    assert not raw.config.standardised
