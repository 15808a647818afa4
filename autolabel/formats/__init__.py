"""Files of other tools, read and written as pairs of functions at the edge: ``read_x`` / ``write_x``."""
