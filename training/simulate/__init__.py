"""A chest, procedural or from CT, and the radiograph it casts, with and without bone (NumPy and SciPy only).

The story: `habitus` draws a person, `ribs`, `spine` and `girdle` their skeleton, `body`, `lungs`, `vessels`, `disease`
and `devices` everything else; `anatomy` adds them to maps of areal density. `ct` projects scans into the same maps,
which `dress` gives disease and devices, and `align` lays one's bones in another's body. `frame`, `imaging` and
`display` turn maps into radiographs, on the `backend` of NumPy or torch; `pair` gives the two twins, the radiograph
and the same radiograph with bone replaced by soft tissue.
"""
