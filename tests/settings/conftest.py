"""What the settings tests share: a folder without a `.env`, and the search for a planted secret."""

from __future__ import annotations

import gc
import pickle
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType

import pytest

from wellwired.errors import SettingsError
from wellwired.settings import Settings

Load = Callable[..., Settings]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No `.env` of whoever runs the tests is read."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def faults_of() -> Callable[..., tuple[str, ...]]:
    """The faults of settings that must be wrong."""

    def faults(
        environ: dict[str, str] | None = None, /, cls: type[Settings] = Settings, **given: object
    ) -> tuple[str, ...]:
        with pytest.raises(SettingsError) as caught:
            cls(_environ=environ or {}, **given)
        return caught.value.faults

    return faults


def everything_told(error: BaseException) -> Iterator[str]:
    """Every text that a log, a debugger or an error reporter could take from an exception."""
    yield "".join(traceback.format_exception(error))
    seen: set[int] = set()
    queue: list[BaseException | None] = [error]
    while queue:
        each = queue.pop()
        if each is None or id(each) in seen:
            continue
        seen.add(id(each))
        yield f"{each} {each!r} {each.args!r} {vars(each)!r}"
        yield from _locals(each.__traceback__)
        queue += [each.__cause__, each.__context__, *getattr(each, "exceptions", ())]
    yield repr(pickle.dumps(error))


def _locals(tb: TracebackType | None) -> Iterator[str]:
    while tb is not None:
        # The test's own frames hold the secret, as any caller's may.
        if "wellwired" in Path(tb.tb_frame.f_code.co_filename).parts:
            yield repr(tb.tb_frame.f_locals)
        tb = tb.tb_next


def no_exception_in_flight() -> bool:
    """Whether nothing that was caught on the way is still to be seen."""
    gc.collect()
    return sys.exc_info() == (None, None, None)
