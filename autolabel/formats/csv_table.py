"""Poses as a CSV table: one row a pose, for spreadsheets, pandas and R.

Columns of the image: ``image`` (path below its root), ``width``, ``height``, ``image_id``, ``image_group``,
``duplicate_of``, ``image_attributes`` (JSON). Of the pose: ``pose``, ``by``, ``group``, ``left``, ``top``, ``right``,
``bottom``, ``detector``, ``area``, ``crowd``, ``p_bad``, ``attributes`` (JSON). Of each keypoint, here ``nose``:
``nose.x``, ``nose.y``, ``nose.visibility`` (unlabelled, hidden, visible or absent), ``nose.score``, ``nose.presence``,
``nose.p_gross``, ``nose.origin`` (none, model, human or imported).

An empty cell is "unknown". An image without people has one row whose cells of the pose are all empty. Only ``image``
and the x and y of at least one keypoint are needed to read a table; ``nose_x`` is as good as ``nose.x``, and a
keypoint with a place and no visibility is visible.
"""

from autolabel.formats.csv_reading import read_csv
from autolabel.formats.csv_writing import CANNOT, write_csv

__all__ = ["CANNOT", "read_csv", "write_csv"]
