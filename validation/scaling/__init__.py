"""Scaling studies: the same training over rank counts, gathered into one table in which a speed is shown only beside
the proof that the numbers are right. `study` plans, `launch` runs, `gather` reads and judges, `table` and `svg` write,
`statistics` holds percentiles. Only `gather` and `table` need h5py and numpy.
"""
