"""The network: define, load, save, pre-train, train, predict.

Import from its files, such as ``from model.vitpose import ViTPose``.
"""
