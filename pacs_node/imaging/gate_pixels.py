"""Is this a frontal chest radiograph, as far as its pixels say? The second half of the gate, after `gate.check_header`.

The classifier sees the thumbnail in all four orientations and both polarities. What it calls a rotated or an inverted
chest must also be a good chest once it is turned back: two answers that agree are worth more than one.

Which way doubt falls depends on the header. Where it names a frontal chest, the pixels have to be sure to refuse it;
where it names nothing, they have to find a chest.
"""

import dataclasses
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pacs_node.config import GateSettings
from pacs_node.errors import ReasonCode, Rejected
from pacs_node.imaging.gate import names_frontal_chest
from pacs_node.imaging.gate_network import CLASSES, Network, shipped_network
from pacs_node.imaging.gate_thumbnail import Glance, glance_at, with_ranks
from pacs_node.records import FloatImage, Radiograph

__all__ = ["Verdict", "check_pixels", "judge"]

# Least probability of a frontal chest with which an image passes, without and with a header that names one.
FOUND, NOT_EXCLUDED = 0.5, 0.1
# Polarity is corrected only where both answers are at least this sure: that the image is an inverted chest, and that
# its negative is a good one.
SURE = 0.9
# Least certainty with which a refusal says more than "no chest": what is none of these is easily taken for one.
NAMED = {"inverted": 0.5, "rotated": 0.5, "cropped": 0.65, "bone": 0.7}
# P-values. A flat field that a window does not stretch varies by less; the flattest radiograph at hand by .12.
LEAST_SPREAD = 0.02
NOISE_SHARE = 0.25  # spread of the thumbnail by the grain below it; noise without a picture has less than .1
LEAST_TAILS = 3.65  # kurtosis of differences; noise of any spectrum has about 3, the radiographs at hand 4.5 and more
LEAST_MIDDLE = 0.2  # share of pixels that are neither black nor white

_REFUSALS = {
    "rotated": (ReasonCode.ROTATED, "the chest is not upright in the image"),
    "lateral": (ReasonCode.NOT_FRONTAL, "the image looks like a lateral or oblique view"),
    "other": (ReasonCode.NOT_CHEST, "the image does not look like a chest radiograph"),
    "cropped": (ReasonCode.CROPPED, "the image shows too small a part of the chest"),
    "bone": (ReasonCode.ALREADY_SUPPRESSED, "the image looks like the bone image of a dual-energy pair"),
    "inverted": (ReasonCode.INVERTED, "the image is displayed in the wrong polarity"),
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the classifier makes of a picture.

    Attributes
    ----------
    answer : the most probable of ``CLASSES``.
    certainty : its probability.
    frontal : probability of a frontal chest as it is.
    turns : quarter turns, counter-clockwise, that would make it most like one.
    righted : probability of a frontal chest after these turns, or, for an inverted one, of its negative.
    inverted : probability that it is an upright chest in the wrong polarity.
    """

    answer: str
    certainty: float
    frontal: float
    turns: int
    righted: float
    inverted: float


def judge(tones: FloatImage, network: Network | None = None) -> Verdict:
    """Classify a thumbnail as `glance_at` makes it; ``network`` is the shipped one unless given."""
    shares = _all_ways(with_ranks(tones[None])[0], network or shipped_network())
    own, frontal = shares[0, 0], shares[:, :, 0]
    turned = frontal[1:].max(axis=1)
    agreed = own.copy()
    agreed[CLASSES.index("inverted")] = (own[CLASSES.index("inverted")] + frontal[0, 1]) / 2
    agreed[CLASSES.index("rotated")] = (own[CLASSES.index("rotated")] + turned.max()) / 2
    answer = CLASSES[int(agreed.argmax())]
    return Verdict(
        answer=answer,
        certainty=float(agreed.max()),
        frontal=float(own[0]),
        turns=1 + int(turned.argmax()) if answer == "rotated" else 0,
        righted=float(frontal[0, 1] if answer == "inverted" else turned.max()),
        inverted=float(own[CLASSES.index("inverted")]),
    )


def _all_ways(channels: FloatImage, network: Network) -> NDArray[np.float32]:
    """(4 turns, 2 polarities, classes): each the mean of the picture and its mirror image."""
    ways = [sign * np.rot90(channels, turns, axes=(1, 2)) for turns in range(4) for sign in (1, -1)]
    both = np.stack([*ways, *(way[:, :, ::-1] for way in ways)]).astype(np.float32)
    shares = network.probabilities(both).reshape(2, 4, 2, len(CLASSES))
    return np.asarray(shares.mean(axis=0))


def check_pixels(radiograph: Radiograph, settings: GateSettings, network: Network | None = None) -> Radiograph:
    """Let a decoded image pass if it shows a frontal chest.

    Parameters
    ----------
    network : the shipped one unless given.

    Returns
    -------
    The radiograph; with its P-values inverted and ``polarity_corrected`` set where the pixels leave no doubt that it is
    displayed as a negative and ``settings.polarity`` is ``correct``.

    Raises
    ------
    Rejected
        BLANK, SATURATED, NOT_CHEST, NOT_FRONTAL, ROTATED, INVERTED, CROPPED, ALREADY_SUPPRESSED.
    """
    if not settings.pixels:
        return radiograph
    glance = glance_at(radiograph.pixels, radiograph.padding)
    _check_exposure(glance)
    verdict = judge(glance.tones, network)
    if verdict.frontal >= _enough(glance, named=names_frontal_chest(radiograph.ds, settings)):
        return radiograph
    if glance.tails < LEAST_TAILS:
        raise Rejected(ReasonCode.NOT_CHEST, "the image holds nothing but noise: its tones change as by chance")
    sure = min(verdict.inverted, verdict.righted) >= SURE
    if verdict.answer == "inverted" and sure and settings.polarity == "correct":
        return _negative(radiograph)
    raise _refusal(verdict)


def _enough(glance: Glance, *, named: bool) -> float:
    """Least probability of a frontal chest with which an image passes; unnamed, what looks like noise is surely one."""
    if named:
        return NOT_EXCLUDED
    return SURE if glance.tails < LEAST_TAILS else FOUND


def _refusal(verdict: Verdict) -> Rejected:
    """The reason and its sentence; the most probable answer may be "frontal" without being probable enough."""
    named = verdict.answer if verdict.certainty >= NAMED.get(verdict.answer, 0.0) else "other"
    reason, explanation = _REFUSALS.get(named, _REFUSALS["other"])
    if named == "rotated":
        explanation = f"the chest is turned by {'180' if verdict.turns == 2 else '90'} degrees in the image"
    return Rejected(reason, explanation)


def _check_exposure(glance: Glance) -> None:
    """Refuse what no classifier is needed for."""
    if glance.spread < LEAST_SPREAD and glance.grain < LEAST_SPREAD:
        raise Rejected(ReasonCode.BLANK, "the image is evenly grey: nothing was exposed")
    if glance.spread < NOISE_SHARE * glance.grain:
        raise Rejected(ReasonCode.NOT_CHEST, "the image holds nothing but noise")
    if glance.middle < LEAST_MIDDLE:
        raise Rejected(ReasonCode.SATURATED, "nearly all of the image is black or white: its greys are lost")


def _negative(radiograph: Radiograph) -> Radiograph:
    """The same image in the other polarity; padding stays black."""
    pixels = np.float32(1) - radiograph.pixels
    if radiograph.padding is not None:
        pixels[radiograph.padding] = 0.0
    return dataclasses.replace(radiograph, pixels=pixels, polarity_corrected=True)
