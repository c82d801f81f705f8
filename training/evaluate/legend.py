"""How each figure is read, in one sentence or two; the same text in every report."""

__all__ = ["HOW_TO_READ"]

HOW_TO_READ = {
    "where it is measured": (
        "every radiograph goes through the service's own pipeline at the size it was delivered, and input, output and "
        "truth are compared there, averaged down where the longer side has more than 1024 px; widths in pixels scale "
        "with the longer side. Values are those of the files, in [0, 1]. The lungs are found in the truth by a crude "
        "threshold: two dark areas that touch no edge."
    ),
    "bsr_tone": (
        "share of the error that is gone beyond what the best tone curve takes away: one smooth rising curve is fitted "
        "to the whole output and one to the whole input, and what they leave of the truth is compared. 0: no better "
        "than a tone curve; 1: perfect; half of every bone gone: about .75. In the lungs: the same curves, errors "
        "counted there."
    ),
    "ribs_left": (
        "correlation, inside the lungs, of the output with the true bone layer in the band of rib edges. The truth "
        "itself is not at 0, because vessels look like ribs, so an output is read between truth and input: the way "
        "from truth to input is 0 at the truth and 1 at the input; below 0, vessels were taken for ribs."
    ),
    "LPIPS": (
        "perceptual distance in its shift-tolerant form, AlexNet, grey values on [-1, 1]: lower is more alike. "
        "It sees structure, and little of tone."
    ),
    "PSNR, MSE, MS-SSIM": (
        "in floating point, on [0, 1]. They count tone as much as bone: dual-energy images are darker than radiographs "
        "over bone. PSNR fitted is measured after the best tone curve."
    ),
    "bsr_strict": "1 - error energy of output / error energy of input, no curve fitted: 1 perfect, 0 the input.",
    "bsr_paper": (
        "the published ratio as its authors repaired it. It levels brightness and counts only what is darker than the "
        "truth, so the untouched input scores far above 0: read it beside that row, never alone."
    ),
    "bounds": (
        "decoded true twins: the bone layer is the difference of the decoded radiograph and the decoded truth (in the "
        "radiograph's tone), so that only the autoencoder's loss is left; fused: with the bundle's high-pass and "
        "strength, which takes too much of a layer that is not shrunk; true layer, fused: without the autoencoder. No "
        "denoiser does better by itself than the decoded twins; a refiner may."
    ),
    "one-pass U-Net control": (
        "a plain U-Net in pixels, trained on the same pairs to return the bone layer at once; its layer is subtracted "
        "as the bundle's. A latent diffusion has to be worth its work beside it."
    ),
    "computed truth": (
        "a soft-tissue image that another algorithm made from the radiograph. Reported, but in no mean of dual energy."
    ),
    "the autoencoder alone": "radiographs that no training saw, encoded and decoded; the letterbox is left out.",
    "inserted nodules": (
        "Gaussian shadows of a tenth of the grey scale are put into the lungs; the share of their contrast that the "
        "companion shows, 1 being all of it."
    ),
}
