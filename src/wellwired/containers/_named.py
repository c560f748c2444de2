"""Named: a family of providers, one for each entry of a settings mapping, declared before the settings are known.

``Application.sql["main"]`` in a class body is a `Member`: it stands for the entry ``main`` whatever the settings will
say, can be handed to other providers and overridden by its id ``sql.main``. Each container expands its families for
itself, once, when a member is first needed or the container is checked. Members outlive an expansion: if the settings
are overridden the family expands again, and its members lead to the new providers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

from dependency_injector import providers as di

from wellwired.containers._direct import SLOTS, DirectCall, label
from wellwired.containers._fork import ForkLock
from wellwired.containers._unknown import unknown
from wellwired.errors import DeclarationError, UnknownProviderError

__all__ = ["Member", "Named"]

T = TypeVar("T")
Provider = di.Provider[Any]


class Member(DirectCall, di.Provider[T]):
    """One entry of a family, whether or not the settings have it; made by ``family["key"]``, never by hand.

    Args:
        family: the family, or whatever a subclass of the container put in its place.
        key: the entry's name; may contain dots.
    """

    __slots__ = ("__call__", "__dict__", "__weakref__", "family", "key")

    def __init__(self, family: Any = None, key: str = "") -> None:
        self.family, self.key = family, key
        self._ask()
        super().__init__()

    @property
    def name(self) -> str:  # type: ignore[override]
        """Its dotted id, such as ``sql.main``."""
        return f"{label(self.family)}.{self.key}"

    @property
    def target(self) -> Provider | None:
        """The provider that the settings gave this entry; None before the family is expanded, or without an entry."""
        return self.family.known().get(self.key) if isinstance(self.family, Named) else None

    def __deepcopy__(self, memo: Any) -> Any:
        if (copied := memo.get(id(self))) is not None:
            return copied
        copied = memo[id(self)] = type(self)(None, self.key)
        copied.family = di.deepcopy(self.family, memo)
        if isinstance(copied.family, Named):
            # The family may have been replaced by one that has this member already.
            copied = memo[id(self)] = copied.family.enlist(copied)
        self._copy_overridings(copied, memo)
        return copied

    def __getattr__(self, name: str) -> Any:
        """The member whose key goes on with `name`: what the path ``writers.sql.main`` means, segment by segment."""
        if not name.startswith("_") and isinstance(self.family, Named) and self.family.leads_to(f"{self.key}.{name}"):
            return self.family[f"{self.key}.{name}"]
        raise AttributeError(f"a member of a family has no attribute {name!r}")

    @property
    def related(self) -> Iterator[Provider]:
        """What it leads to: its provider and what the family is expanded from, or what stands in for the family."""
        if isinstance(self.family, Named):
            yield from self.family.settings()
        if (target := self.target) is not None:
            yield target
        if self.family is not None and not (isinstance(self.family, Named) and self.family.last_overriding is None):
            yield self.family
        yield from super().related

    def _provide(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if not isinstance(self.family, Named) or self.family.last_overriding is not None:
            return self._from_stand_in()
        target = self.family.member(self.key)
        self.family.serve(self, target)
        return target(*args, **kwargs)

    def _from_stand_in(self) -> Any:
        objects = self.family()
        if self.key not in objects:
            raise UnknownProviderError(unknown(self.key, objects, f"what stands in for {label(self.family)}"))
        return objects[self.key]


class Named(DirectCall, di.Provider[dict[str, T]]):
    """Provides a dict of objects, one per entry of a mapping, and each of them by ``family["key"]``.

    Safe from many threads. Its members are expanded once per container.

    Args:
        source: a provider of the mapping from name to configuration, such as ``settings.provided.sql``.
        build: called as ``build(key, config, **deps)`` for each entry; returns its provider.
        variable: the environment variable that would add an entry, with ``{key}`` where the name goes, for messages;
            or a function from the key to that variable, which may be a provider.
        deps: providers that `build` is handed as they are, uncalled: what the members may need.

    Raises:
        DeclarationError: at expansion, if `build` returns no provider.
    """

    __slots__ = (*SLOTS, "_build", "_deps", "_expanded", "_lock", "_members", "adopt", "source", "variable")

    def __init__(
        self,
        source: Any = None,
        build: Callable[..., di.Provider[T]] | None = None,
        *,
        variable: str | Callable[[str], str] = "",
        deps: Mapping[str, Provider] | None = None,
    ) -> None:
        self.name = ""
        self.source = source
        self.variable = variable
        self.adopt: Callable[[Provider], None] | None = None
        self._build = build
        self._deps = dict(deps or {})
        self._members: dict[str, Member[T]] = {}
        self._expanded: dict[str, di.Provider[T]] | None = None
        self._lock = ForkLock()
        self._ask()
        super().__init__()

    def __deepcopy__(self, memo: Any) -> Any:
        if (copied := memo.get(id(self))) is not None:
            return copied
        copied = memo[id(self)] = type(self)(None, self._build)
        copied.variable = di.deepcopy(self.variable, memo) if di.is_provider(self.variable) else self.variable
        copied.source = di.deepcopy(self.source, memo) if di.is_provider(self.source) else self.source
        copied._deps = {name: di.deepcopy(provider, memo) for name, provider in self._deps.items()}
        for member in list(self._members.values()):
            di.deepcopy(member, memo)
        self._copy_overridings(copied, memo)
        return copied

    # A family without entries is not "no provider"; dependency-injector asks by truth.
    def __bool__(self) -> bool:
        return True

    def __getitem__(self, key: str) -> Member[T]:
        """The member `key`, the same object each time; whether the settings have it is seen when it is needed."""
        member = self._members.get(key)
        return self.enlist(Member(self, key)) if member is None else member

    def __iter__(self) -> Iterator[str]:
        """The names of the entries; expands the family."""
        return iter(self.expand())

    def __len__(self) -> int:
        return len(self.expand())

    def __contains__(self, key: object) -> bool:
        return key in self.expand()

    def __getattr__(self, name: str) -> Any:
        """A known member as an attribute, for string ids in injection markers; never a name that is not there."""
        if not name.startswith("_") and self.leads_to(name):
            return self[name]
        raise AttributeError(f"a family has no attribute {name!r}, and knows no member of this name")

    @property
    def providers(self) -> dict[str, Member[T]]:
        """The members by name, as far as known: nothing before the family is expanded."""
        return {key: self[key] for key in self.known()}

    @property
    def related(self) -> Iterator[Provider]:
        """What it is expanded from, and its members once it is."""
        yield from self.origin()
        yield from self.providers.values()
        yield from super().related

    def override(self, provider: Any) -> Any:
        """Overrides the family as a whole with a mapping of objects, or a provider of one."""
        context = super().override(provider)
        for member in list(self._members.values()):
            member._ask()
        return context

    def expand(self) -> Mapping[str, di.Provider[T]]:
        """The providers of the entries by name; built at the first call.

        Raises:
            SettingsError: the settings are wrong.
            DeclarationError: `build` returned no provider for an entry.
        """
        if self._expanded is None:
            with self._lock.current():
                if self._expanded is None:
                    entries = self.source() if di.is_provider(self.source) else self.source
                    self._expanded = {key: self._built(key, config) for key, config in (entries or {}).items()}
        return self._expanded

    def known(self) -> Mapping[str, di.Provider[T]]:
        """Like `expand()`, without expanding: nothing before the family is expanded."""
        return self._expanded or {}

    @property
    def expanded(self) -> bool:
        """Whether the settings have been read and the members built."""
        return self._expanded is not None

    def member(self, key: str) -> di.Provider[T]:
        """The provider of the entry `key`; expands the family.

        Raises:
            UnknownProviderError: there is no such entry; names near and known ones, and the variable to set.
        """
        entries = self.expand()
        if key not in entries:
            raise UnknownProviderError(unknown(key, entries, label(self), add=self.variable_of(key)))
        return entries[key]

    def variable_of(self, key: str) -> str:
        """The environment variable that would add the entry `key`; empty if that was not declared."""
        return self.variable(key) if callable(self.variable) else self.variable.replace("{key}", key.upper())

    def forget(self) -> None:
        """Drops the expansion, so that the next use reads the settings again; members stay the same objects."""
        with self._lock.current():
            self._expanded = None
            for member in list(self._members.values()):
                member._ask()

    def origin(self) -> tuple[Provider, ...]:
        """The providers that it is expanded from: its source and the dependencies handed to `build`."""
        return (*self.settings(), *self._deps.values())

    def settings(self) -> tuple[Provider, ...]:
        """The provider of the settings alone; nothing if these were given as a plain mapping."""
        return tuple(filter(di.is_provider, [self.source]))

    def members(self) -> tuple[Member[T], ...]:
        """Every member that anybody has asked for, whether or not the settings have it."""
        return tuple(self._members.values())

    def leads_to(self, path: str) -> bool:
        """Whether `path` is a known entry, or the beginning of one up to a dot."""
        known = self.known()
        return path in known or any(key.startswith(f"{path}.") for key in known)

    def enlist(self, member: Member[T]) -> Member[T]:
        """Makes `member` the one for its key unless there is one already; returns the one."""
        return self._members.setdefault(member.key, member)

    def serve(self, member: Member[T], target: di.Provider[T]) -> None:
        """Lets calls of `member` go straight to `target`, if that still is its provider."""
        with self._lock.current():
            if self.known().get(member.key) is target:
                member._serve(target)
                if self.last_overriding is not None:
                    member._ask()

    def _built(self, key: str, config: Any) -> di.Provider[T]:
        if self._build is None:
            raise DeclarationError(f"{label(self)} has no build function; give Named(source, build)")
        provider = self._build(key, config, **self._deps)
        if not isinstance(provider, di.Provider):
            raise DeclarationError(
                f"build of {label(self)} returned a {type(provider).__name__} for {key!r} instead of a provider; "
                "return providers.Resource(…), providers.Singleton(…) or providers.Object(…)"
            )
        if isinstance(provider, DirectCall) and not provider.name:
            provider.name = f"{label(self)}.{key}"
        if self.adopt is not None:
            self.adopt(provider)
        return provider

    def _provide(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:  # noqa: ARG002 - the base's signature
        return {key: self[key]() for key in self.expand()}
