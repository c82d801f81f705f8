"""`pacs-node ablate`: each part of the method taken out or turned, on small networks that a CPU trains in minutes.

`plan` says what is trained and how it is sampled, `data` and `networks` make it, `measure` samples and scores it,
`results` keeps it, `run` goes through it; `compare`, `findings`, `tables`, `plots` and `page` tell what was seen.
"""
