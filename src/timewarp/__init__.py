"""Exact Boltzmann sampling of small peptides."""
