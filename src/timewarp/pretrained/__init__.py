"""Trained networks by name: those shipped with the package, and those in a folder of one's own."""

from .registry import PRIOR, LoadedModel, default_for, find, load, names, outside, package_folder

__all__ = ["PRIOR", "LoadedModel", "default_for", "find", "load", "names", "outside", "package_folder"]
