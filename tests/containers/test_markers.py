"""Markers are read from every place that can hold one, and explain themselves where they should not be."""

from __future__ import annotations

import copy
import inspect
from typing import Any

import pytest
from dependency_injector import containers as di_containers
from dependency_injector import wiring as di_wiring

from tests.containers.wired import MakeModule, Shop
from wellwired.containers import Provide, inject
from wellwired.containers._markers import MarkerError, markers_of
from wellwired.errors import DeclarationError


def test_annotated_markers_work_under_postponed_annotations(shop: Shop, make_module: MakeModule) -> None:
    """An annotation that is text is read, also through an alias and beside other metadata."""
    views = make_module("""
        Injected = Annotated[Users, "documentation", Provide["users"]]

        @inject
        def show(name: str, users: Annotated[Users, Provide["users"]], other: Injected, *, n: Annotated[int, 1] = 3):
            return users, other, n
    """)
    shop.wire([views])
    assert views.show("ada") == (shop.users(), shop.users(), 3)


def test_an_annotation_that_cannot_be_read_is_refused(make_module: MakeModule) -> None:
    """A marker behind a name that exists only for type checkers is an error, with the way out."""
    with pytest.raises(DeclarationError, match=r"'users' is text, and reading it gives NameError.*users=Provide"):
        make_module("""
            @inject
            def show(users: Annotated[OnlyForTypeCheckers, Provide["users"]]): ...
        """)


def test_an_unreadable_annotation_without_marker_is_nobodys_business(shop: Shop, make_module: MakeModule) -> None:
    """Names for type checkers only may be used for everything else."""
    views = make_module("""
        @inject
        def show(request: OnlyForTypeCheckers, users: OnlyForTypeCheckers = Provide["users"]) -> Nothing:
            return users
    """)
    shop.wire([views])
    assert views.show(1) is shop.users()


def test_what_has_no_signature_has_no_markers() -> None:
    """Some C functions cannot be read, and hold no markers."""
    assert markers_of(type) == {}


def test_a_positional_only_parameter_cannot_be_filled_in() -> None:
    """It would have to be passed by name."""

    def show(users: Any = Provide["users"], /) -> None: ...

    with pytest.raises(DeclarationError, match="positional-only"):
        inject(show)


def test_markers_of_dependency_injector_are_understood(shop: Shop, make_module: MakeModule) -> None:
    """Code that moves here keeps its markers and changes one import."""
    views = make_module("""
        from dependency_injector import wiring

        @inject
        def show(users=wiring.Provide["users"]):
            return users
    """)
    shop.wire([views])
    assert views.show() is shop.users()


def test_markers_inside_fastapis_depends_are_found(shop: Shop, make_module: MakeModule) -> None:
    """What dependency-injector unpacks for other frameworks is unpacked here too, by the same functions."""

    class Depends:
        """As FastAPI wraps a dependency."""

        def __init__(self, dependency: Any) -> None:
            self.dependency = dependency

    def extract(parameter: Any) -> Any:
        return parameter.dependency if isinstance(parameter, Depends) else None

    di_wiring.MARKER_EXTRACTORS.append(extract)
    try:
        views = make_module(
            """
            @inject
            def show(users=Depends(Provide["users"]), hinted: Annotated[Users, Depends(Provide["users"])] = None):
                return users, hinted
            """,
            Depends=Depends,
        )
    finally:
        di_wiring.MARKER_EXTRACTORS.remove(extract)
    shop.wire([views])
    marker = Provide["users"]
    assert views.show(users=marker, hinted=marker) == (shop.users(), shop.users())


def test_a_marker_that_reaches_a_caller_explains_itself() -> None:
    """Used as the object that it stands for, it says what is wrong; to those who probe it is an attribute error."""
    marker = Provide["users"]
    with pytest.raises(MarkerError, match="put @inject below all other decorators"):
        marker.find("ada")
    assert not hasattr(marker, "find")
    assert copy.deepcopy(marker).provider == "users"


def test_what_we_rely_on_in_dependency_injector() -> None:
    """The names and shapes of its wiring that are not part of its documented interface."""
    marker = di_wiring.Provide["sql.main"]
    assert (marker.provider, marker.modifier) == ("sql.main", None)
    assert isinstance(di_wiring.Provide["x", di_wiring.as_int()].modifier, di_wiring.TypeModifier)
    assert issubclass(type(Provide["x"]), di_wiring.Provide)  # type: ignore[arg-type]
    assert marker() is marker
    assert all(callable(extract) for extract in di_wiring.MARKER_EXTRACTORS)
    assert di_wiring.Provide[Shop].provider is Shop.__self__
    parameters = inspect.signature(di_wiring.ProvidedInstance.modify).parameters
    assert list(parameters) == ["self", "provider", "providers_map"]
    config = di_containers.WiringConfiguration()
    assert (config.modules, config.packages) == ([], [])
