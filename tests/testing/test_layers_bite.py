"""The layer suite fails a layer that breaks a promise, and for that promise; an honest one passes it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
WRONG = Path(__file__).with_name("wrong_layers.py")

MUST_FAIL = {
    "Falsy": "test_every_value_comes_back",
    "Folding": "test_keys_are_not_confused",
    "Sharing": "test_what_was_read_is_the_readers_own",
    "Extending": "test_the_time_left_is_never_more_than_was_given",
    "Unfenced": "test_a_write_makes_tokens_stale",
    "Lazy": "test_deleting_nothing_makes_tokens_stale_too",
    "Forgetting": "test_clear_makes_tokens_stale",
    "LastWins": "test_a_put_is_let_in_once",
    "Careless": "test_of_two_exchanges_one_is_made",
    "Exposing": "test_a_stale_value_is_shown_only_to_who_asks_for_it",
    "Deaf": "test_an_invalidation_makes_tokens_of_tagged_fills_stale",
    "Generous": "test_one_is_granted_and_the_others_are_not",
    "Claiming": "test_it_is_what_it_claims",
}


@pytest.fixture(scope="module")
def failed() -> dict[str, set[str]]:
    """The tests that fail, by the class of the layer: all tests of the honest one, and the decisive of each other."""
    chosen = [f"{WRONG}::TestHonest", *(f"{WRONG}::Test{kind}::{test}" for kind, test in MUST_FAIL.items())]
    command = [sys.executable, "-m", "pytest", *chosen, "-q", "--tb=no", "-rA", "-p", "no:cacheprovider"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == pytest.ExitCode.TESTS_FAILED, done.stdout + done.stderr
    found: dict[str, set[str]] = {}
    for outcome, kind, test in re.findall(r"^(PASSED|FAILED) \S*?::Test(\w+)::(\w+)", done.stdout, re.MULTILINE):
        found.setdefault(kind, set()).update({test} if outcome == "FAILED" else ())
    return found


def test_an_honest_layer_passes(failed: dict[str, set[str]]) -> None:
    """Nothing of the suite is beyond what a layer can do."""
    assert failed["Honest"] == set()


@pytest.mark.parametrize(("kind", "test"), MUST_FAIL.items(), ids=MUST_FAIL)
def test_a_layer_that_breaks_a_promise_fails(failed: dict[str, set[str]], kind: str, test: str) -> None:
    """The test of the promise that it breaks fails."""
    assert failed[kind] == {test}
