"""What is sent again of a batch: for each request what a write by itself would have, at the price of one."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from wellwired.errors import BackendError, Outcome, Retry, WriteError
from wellwired.middleware import RetryPolicy
from wellwired.middleware.policy import Wait
from wellwired.writers._many_retry import Tries

POLICY = RetryPolicy(attempts=3)
kinds = st.tuples(st.sampled_from(Retry), st.sampled_from(Outcome), st.booleans())


def error(kind: tuple[Retry, Outcome, bool], reason: str = "x") -> WriteError:
    """An error of a kind."""
    return BackendError("failed", retry=kind[0], outcome=kind[1], reason=reason)


@given(st.dictionaries(st.integers(0, 20), kinds, max_size=12), st.floats(0, 1), st.floats(0.001, 10))
def test_each_request_is_decided_like_a_write_by_itself(
    given_kinds: dict[int, tuple[Retry, Outcome, bool]], draw: float, left: float
) -> None:
    """Those that would be sent again are, after the longest of their waits; the others have their verdict."""
    errors = {at: error(kind) for at, kind in given_kinds.items()}
    repeatable = [given_kinds.get(at, (None, None, False))[2] for at in range(21)]
    tries = Tries(POLICY, repeatable)
    paid: list[WriteError] = []

    again = tries.after(errors, left=left, draw=draw, spend=lambda one: not paid.append(one))

    alone = {
        at: POLICY.decide(one, attempt=1, repeatable=repeatable[at], left=left, draw=draw) for at, one in errors.items()
    }
    waits = {at: one.seconds for at, one in alone.items() if isinstance(one, Wait)}
    assert (again.positions if again else []) == sorted(waits)
    assert set(tries.final) == set(errors) - set(waits)
    if again:
        assert again.seconds == max(waits.values()) < left
    assert len(paid) == bool(waits)


@given(st.lists(kinds, min_size=1, max_size=8), st.data())
def test_an_atomic_batch_is_sent_again_as_a_whole_or_not_at_all(
    given_kinds: list[tuple[Retry, Outcome, bool]], data: st.DataObject
) -> None:
    """One that must not be sent again keeps all from it; those that failed with it have no say."""
    bystander = (Retry.SAFE, Outcome.NOT_APPLIED, True)
    culprits = [error(kind) for kind in given_kinds]
    several = data.draw(st.permutations([*culprits, error(bystander, "atomic"), error(bystander, "atomic")]))
    tries = Tries(POLICY, [True] * len(several), atomic=True)

    again = tries.after(dict(enumerate(several)), left=10.0, draw=0.5, spend=lambda _: True)

    if any(one.retry is Retry.NEVER for one in culprits):
        assert again is None
        assert set(tries.final) == set(range(len(several)))
    else:
        assert again is not None
        assert again.positions == list(range(len(several)))


def test_the_worst_outcome_of_all_tries_is_kept() -> None:
    """A later refusal does not close what an earlier try left open."""
    tries = Tries(POLICY, [True])
    tries.after({0: error((Retry.IF_IDEMPOTENT, Outcome.UNKNOWN, True))}, left=10.0, draw=0.0, spend=lambda _: True)
    tries.after({0: error((Retry.NEVER, Outcome.NOT_APPLIED, True))}, left=10.0, draw=0.0, spend=lambda _: True)

    assert (tries.final[0].outcome, tries.final[0].attempts) == (Outcome.UNKNOWN, 2)
