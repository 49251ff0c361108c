"""Every line of the list of slow tests names tests that exist."""

from pathlib import Path

HERE = Path(__file__).parent


def test_every_line_names_a_test():
    lines = [line for line in (HERE / "slow_tests.txt").read_text().splitlines() if line and not line.startswith("#")]
    assert len(lines) == len(set(lines))
    for line in lines:
        file, _, name = line.partition("::")
        source = (HERE.parent / file).read_text()
        assert not name or f"def {name.partition('[')[0]}(" in source, line
