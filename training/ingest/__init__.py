"""Real pairs, a radiograph and its soft-tissue twin, read from any layout and brought to one form.

The story: `layouts` (and `dicom_pairs`) find which files belong together, `pictures` reads their pixels, `polarity`
turns a negative around, `register` lays the twin onto the radiograph, `tone` measures the curve between the two,
`normalise` does all of it for one pair, `split` says which part a patient belongs to, `run` goes through a folder and
keeps the `manifest`, which is also where a training reads the pairs again.
"""
