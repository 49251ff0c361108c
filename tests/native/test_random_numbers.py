"""The counter-based generator: published answers, moments, and independence of how it is called."""

import math

import numpy as np
import pytest

from timewarp import native

if not native.available():
    pytest.skip(native.why_not(), allow_module_level=True)

PI = (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344)
KNOWN = [  # kat_vectors of Random123 1.14: counter, key, answer
    ((0,) * 4, (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (PI, (0xA4093822, 0x299F31D0), (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1)),
]


def normals(n, count, *, seed=1, step=0, purpose=0, dtype=np.float32, first=0):
    out = np.empty((n, count), dtype=dtype)
    native.core().normals(seed, step, purpose, np.arange(first, first + n, dtype=np.uint32), out)
    return out


@pytest.mark.parametrize(("counter", "key", "answer"), KNOWN)
@pytest.mark.parametrize("lane", [0, 1, 5, 16])
def test_known_answers(instruction_set, counter, key, answer, lane):
    counters = np.arange(4 * 17, dtype=np.uint32).reshape(17, 4)
    counters[lane] = counter
    native.core().philox(counters, *key)
    assert tuple(counters[lane].tolist()) == answer


def test_no_counter_is_lost(instruction_set):
    counters = np.zeros((100_000, 4), dtype=np.uint32)
    counters[:, 0] = np.arange(100_000)
    native.core().philox(counters, 7, 0)
    assert len(np.unique(counters, axis=0)) == 100_000


def test_moments(instruction_set):
    x = normals(1000, 1000).astype(np.float64)
    n = x.size
    assert abs(x.mean()) < 4 / math.sqrt(n)
    assert abs(x.var() - 1) < 4 * math.sqrt(2 / n)
    assert abs((x**3).mean()) < 4 * math.sqrt(15 / n)
    assert abs((x**4).mean() - 3) < 4 * math.sqrt(96 / n)
    assert abs((abs(x) > 3).mean() - 0.0026998) < 4 * math.sqrt(0.0027 / n)
    for shift in (1, 2, 3, 4):  # neighbours in a counter, and in the next one
        assert abs((x[:, shift:] * x[:, :-shift]).mean()) < 4.5 / math.sqrt(n)
        assert abs((x[:, shift:] ** 2 * x[:, :-shift] ** 2).mean() - 1) < 4.5 * math.sqrt(8 / n)
    assert abs((x[1:] * x[:-1]).mean()) < 4.5 / math.sqrt(n)  # replicas
    for other in (normals(1000, 1000, step=1), normals(1000, 1000, purpose=2), normals(1000, 1000, seed=2)):
        assert abs((x * other).mean()) < 4.5 / math.sqrt(n)


def test_single_and_double_precision_see_the_same_noise(instruction_set):
    single, double = normals(37, 66), normals(37, 66, dtype=np.float64)
    assert np.abs(single - double).max() < 5e-4  # the radius near 0, where the uniform is rounded near 1
    assert np.abs(single - double).mean() < 2e-7


def test_a_number_depends_on_its_replica_alone(instruction_set):
    whole = normals(40, 66, step=2**40 + 3)
    assert np.array_equal(whole[17:18], normals(1, 66, step=2**40 + 3, first=17))
    assert np.array_equal(whole[:, :4], normals(40, 4, step=2**40 + 3))
    assert not np.array_equal(whole, normals(40, 66, step=3))


def test_instruction_sets_agree():
    before, found = native.instruction_set(), {}
    for name in ("baseline", "avx2", "avx512"):
        try:
            native.core().choose_instruction_set(name)
        except ValueError:
            continue
        found[name] = normals(33, 66)
    native.core().choose_instruction_set(before)
    for values in found.values():
        assert np.abs(values - found["baseline"]).max() < 3e-6
