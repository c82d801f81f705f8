"""A procedural chest phantom and the radiograph it casts, with and without bone (NumPy and SciPy only).

The story: `habitus` draws a person, `ribs`, `spine` and `girdle` their skeleton, `body`, `lungs`, `vessels`, `disease`
and `devices` everything else; `anatomy` adds them to maps of areal density; `imaging` and `display` turn the maps into
a radiograph; `pair` gives the two twins, the radiograph and the same radiograph with bone replaced by soft tissue.
"""
