"""The network: define, load, train, distil, predict, detect.

Import from its files, such as ``from model.vitpose import ViTPose``.
"""
