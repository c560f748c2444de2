"""The writer suite fails a writer that breaks a promise, and for that promise; an honest one passes it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from wellwired.errors import BackendError, Outcome, Phase, Retry, WriteTimeoutError
from wellwired.testing._suite import SECRET, look_over

ROOT = Path(__file__).parents[2]
WRONG = Path(__file__).with_name("wrong_writers.py")

MUST_FAIL = {
    "Swallowing": "test_a_handlers_bug_is_rolled_back",
    "CommittingLate": "test_a_timeout_is_never_applied_later",
    "WithoutFence": "test_work_that_ends_late_is_not_applied",
    "TimingOutAfterCommit": "test_time_that_passes_after_the_commit_is_no_timeout",
    "Direct": "test_a_refusal_of_the_backends_says_what_it_left",
    "Quoting": "test_a_handlers_bug_is_rolled_back",
    "NotPickling": "test_a_handlers_bug_is_rolled_back",
    "Retrying": "test_nothing_is_tried_twice",
    "CallingEarly": "test_it_runs_after_the_commit_and_in_order",
    "Trusting": "test_a_key_with_another_payload_is_refused",
    "Hasty": "test_the_key_of_a_failed_write_is_free",
    "Racing": "test_racing_threads_with_one_key_are_one_write",
    "Leaking": "test_a_failure_spoils_nothing_that_follows",
}


@pytest.fixture(scope="module")
def failed() -> dict[str, set[str]]:
    """The tests that fail, by the class of the writer: all tests of the honest one, and the decisive of each other."""
    chosen = [f"{WRONG}::TestHonest", *(f"{WRONG}::Test{kind}::{test}" for kind, test in MUST_FAIL.items())]
    command = [sys.executable, "-m", "pytest", *chosen, "-q", "--tb=no", "-rA", "-p", "no:cacheprovider"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == pytest.ExitCode.TESTS_FAILED, done.stdout + done.stderr
    found: dict[str, set[str]] = {}
    for outcome, kind, test in re.findall(r"^(PASSED|FAILED) \S*?::Test(\w+)::(\w+)", done.stdout, re.MULTILINE):
        found.setdefault(kind, set()).update({test} if outcome == "FAILED" else ())
    return found


def test_an_honest_writer_passes(failed: dict[str, set[str]]) -> None:
    """Nothing of the suite is beyond what a plain writer can do."""
    assert failed["Honest"] == set()


@pytest.mark.parametrize(("kind", "test"), MUST_FAIL.items(), ids=MUST_FAIL)
def test_a_writer_that_breaks_a_promise_fails(failed: dict[str, set[str]], kind: str, test: str) -> None:
    """The test of the promise that it breaks fails."""
    assert failed[kind] == {test}


@pytest.mark.parametrize(
    "error",
    [
        WriteTimeoutError("late", outcome=Outcome.UNKNOWN),
        WriteTimeoutError("late", phase=Phase.COMMIT),
        BackendError("open", outcome=Outcome.UNKNOWN, retry=Retry.SAFE),
        BackendError(f"about {SECRET}"),
        BackendError("fine", reason=SECRET),
    ],
)
def test_an_error_that_says_what_cannot_be_is_found(error: BackendError) -> None:
    """A TIMEOUT that may be applied, an open outcome that is safe to send again, a secret anywhere."""
    with pytest.raises(AssertionError):
        look_over(error)
    noted = BackendError("fine")
    look_over(noted)
    noted.add_note(SECRET)
    with pytest.raises(AssertionError):
        look_over(noted)


def test_pytest_is_needed_for_the_suite_alone() -> None:
    """Without it `wellwired.testing` works, and the suite names the extra that brings it."""
    code = (
        "import sys; sys.modules['pytest'] = None\n"
        "import wellwired, wellwired.testing\n"
        "from wellwired.errors import MissingExtraError\n"
        "try:\n    import wellwired.testing.conformance\n"
        "except MissingExtraError as error:\n    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "pip install 'wellwired[test]'" in done.stdout, done.stderr
