"""How good is a bundle? Measured on real pairs, as the service would process them, beside what is trivial.

The story: `cases` reads the pairs, `contenders` makes every output that is compared, `scores` measures each against the
truth, `reconstruction` and `stability` look at what needs no pair, `run` goes through all of it, `tables` and
`pictures` arrange what was found, `markdown` and `html` write it down. `choice` ranks the checkpoints of a training.
"""
