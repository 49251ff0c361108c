"""The names that ``--help`` lists are those that there are."""

from timewarp.observables import COUPLINGS, SETS
from timewarp.observables.karplus import DEFAULT
from timewarp.settings.other import KARPLUS, ObserveSettings


def test_names_in_the_settings():
    assert tuple(SETS) == KARPLUS
    assert ObserveSettings.karplus == DEFAULT
    for relations in SETS.values():
        assert tuple(r.coupling for r in relations) == COUPLINGS
