"""Garbage collection of a registry: removes old versions, none that is served, rolled out or needed for a rollback.

Kept are champion, candidate, previous, the candidate of an open rollout, and the newest N by the order of registration
in the audit log, which needs no clock. A version is first marked in aliases.json by compare-and-swap, so that nobody
can promote it any more, and then removed. An interrupted collection is finished by the next one.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from components.shared.errors import InputError
from components.shared.release.aliases import ALIASES, EARLIER, REMOVING, Decision, State
from components.shared.release.audit import noted
from components.shared.release.registry import Registry


@dataclass(frozen=True)
class Collection:
    """What a garbage collection keeps and removes.

    Attributes:
        kept: why by version. removed: versions, oldest registration first. size: bytes of the removed ones.
    """

    kept: dict[str, str]
    removed: tuple[str, ...]
    size: int


def planned(registry: Registry, name: str, keep: int) -> Collection:
    """What `collect` would do now.

    Args:
        registry: The registry.
        name: Model name.
        keep: Number of newest versions to keep, beside those in use.

    Raises:
        InputError: `keep` is below 1.
    """
    return _planned(registry, name, keep, registry.aliases_of(name).state())


def collect(registry: Registry, name: str, keep: int) -> Collection:
    """Remove what `planned` says, and finish an interrupted collection.

    Raises:
        InputError: `keep` is below 1, or the registry cannot be written.
        RegistryError: the object store does not answer.
    """
    aliases, plan = registry.aliases_of(name), planned(registry, name, keep)

    def mark(state: State) -> Decision | None:
        nonlocal plan
        plan = _planned(registry, name, keep, state)
        marked = [*state.get(REMOVING, []), *plan.removed]
        if not plan.removed:
            return None
        earlier = [version for version in state.get(EARLIER, []) if version not in marked]
        return {**state, EARLIER: earlier, REMOVING: marked}, noted("remove", versions=list(plan.removed))

    aliases.change(mark)
    # A rollout that began meanwhile has either seen the mark, or is seen here.
    spared = set(aliases.state().get(REMOVING, [])) & _rolled_out(registry, name)
    for version in aliases.state().get(REMOVING, []):
        if version not in spared:
            registry.remove(name, version)

    def unmark(state: State) -> Decision | None:
        done = [version for version in state.get(REMOVING, []) if version not in spared]
        if not state.get(REMOVING):
            return None
        following = {field: value for field, value in state.items() if field != REMOVING}
        return following, noted("removed", versions=done)

    aliases.change(unmark)
    return plan


def _planned(registry: Registry, name: str, keep: int, state: State) -> Collection:
    if keep < 1:
        raise InputError(f"--keep is {keep}", "keep at least 1 version")
    registered, marked = registry.registered(name), state.get(REMOVING, [])
    known = [version for version in registry.versions(name) if version not in marked]
    # A version without a line in the log is being registered right now.
    order = sorted(known, key=lambda version: registered.index(version) if version in registered else len(registered))
    kept = {version: "newest" for version in order[-keep:]}
    kept |= {version: "rollout" for version in _rolled_out(registry, name)}
    kept |= {state[alias]: alias for alias in reversed(ALIASES) if alias in state}
    removed = tuple(version for version in order if version not in kept)
    return Collection({version: kept[version] for version in order if version in kept}, removed,
                      _size(registry, name, removed))  # fmt: skip


def _rolled_out(registry: Registry, name: str) -> set[str]:
    """Versions of an open rollout."""
    state = registry.rollout_state(name)
    return {str(state[role]) for role in ("candidate", "champion") if state.get(role)}


def _size(registry: Registry, name: str, versions: Iterable[str]) -> int:
    return sum(registry.size(name, version) for version in versions)
