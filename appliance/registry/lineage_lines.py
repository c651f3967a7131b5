"""The lineage as lines: of one release, and of anything in the graph, from what came before to where it went."""

from __future__ import annotations

from dataclasses import dataclass

from appliance.errors import UsageError
from appliance.registry.lineage import Edge, ancestors
from appliance.registry.records import Sighting
from appliance.registry.store import Registry

_SHORTEST_PREFIX = 6  # characters of a digest
_ORDER = {kind: place for place, kind in enumerate(("base", "dataset", "adapter", "model", "release"))}
Node = tuple[str, str]
"""(kind, digest or name)."""


def sighting_line(sighting: Sighting) -> str:
    """Where a release went, when, and who answers for it."""
    by = f", by {sighting.by[:16]}" if sighting.by else ""
    number = f", timestamp {sighting.number}" if sighting.number else ""
    begun = "; begun, and not known to have ended: it may hold the release" if sighting.begun else ""
    return f"{sighting.kind:<7} {sighting.name}  {sighting.time}{by}{number}{begun}"


def _titles(registry: Registry) -> dict[str, str]:
    return {each.digest: f"{each.name} {each.version}" for each in registry.index().listed()}


def release_lines(registry: Registry, digest: str) -> list[str]:
    """The lineage of one release as a tree.

    Raises:
        TrustError: its record or release.json is damaged.
    """
    manifest, record = registry.manifest(digest), registry.record(digest)
    known, titles = ancestors(manifest), _titles(registry)

    def shared(kind: str) -> str:
        below = {release for release, _, _ in registry.index().below(known[kind])} - {digest}
        others = sorted(titles[each] for each in below if each in titles)
        more = f" and {len(others) - 3} more" if len(others) > 3 else ""
        return f"   (also: {', '.join(others[:3])}{more})" if others else ""

    lines = [f"{kind:<8} {known[kind]}{shared(kind)}" for kind in ("base", "dataset") if kind in known]
    if "adapter" in known:
        lines.append(f"  adapter  {known['adapter']}{shared('adapter')}")
    lines.append(f"    model    {known['model']}{shared('model')}")
    lines.append(f"      release  {digest}  {manifest.name} {manifest.version}, {record.channel}")
    lines += [f"        {sighting_line(each)}" for each in record.sightings]
    lines += [f"follows   {titles.get(each, 'a release that is gone')}  {each}" for each in record.parents]
    after = [below for _, kind, below in registry.index().below(digest) if kind == "release"]
    lines += [f"before    {titles.get(each, '')}  {each}" for each in after]
    return lines


@dataclass(frozen=True)
class Graph:
    """A part of the lineage.

    Attributes:
        nodes: what was asked for.
        edges: all that lead to them or away from them.
    """

    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]


def _reached(start: set[Node], edges: set[Edge], *, up: bool) -> set[Edge]:
    """Edges that lead from `start` down, or up; a release's parents are no part of what it is made of."""
    found: set[Edge] = set()
    waiting = set(start)
    while waiting:
        new = {
            edge
            for edge in edges - found
            if (edge[2:] if up else edge[:2]) in waiting and edge[0] + edge[2] != "releaserelease"
        }
        found |= new
        waiting = {edge[:2] if up else edge[2:] for edge in new}
    return found


def _asked(registry: Registry, thing: str, edges: set[Edge]) -> set[Node]:
    nodes = {node for edge in edges for node in (edge[:2], edge[2:])}
    named = {node for node in nodes if node[0] in {"stick", "device"} and node[1] == thing}
    if named:
        return named
    if len(thing) >= _SHORTEST_PREFIX and not thing.strip("0123456789abcdef"):
        found = {node for node in nodes if node[0] in _ORDER and node[1].startswith(thing)}
        digests = {digest for _, digest in found}
        if len(digests) > 1:
            raise UsageError(f"{thing}: {len(digests)} digests begin so", "give more of the digest")
        if found:
            return found
    return {("release", registry.find(thing).digest)}


def graph_of(registry: Registry, thing: str) -> Graph:
    """What is connected with `thing`, above and below it.

    Args:
        thing: the name of a stick or a device, the beginning of any digest, or a release as `Registry.find` takes it.

    Raises:
        UsageError: nothing is called so, or several digests begin so.
    """
    edges = {
        (above_kind, above, kind, below) for _, above_kind, above, kind, below in registry.index().edges()
    }
    nodes = _asked(registry, thing, edges)
    found = _reached(nodes, edges, up=True) | _reached(nodes, edges, up=False)
    return Graph(tuple(sorted(nodes)), tuple(sorted(found)))


def _line(registry: Registry, above: Node | None, node: Node, titles: dict[str, str]) -> str:
    kind, name = node
    if kind == "release":
        return f"release  {name}  {titles.get(name, '')}".rstrip()
    if above is not None and above[0] == "release":
        told = registry.record(above[1]).sightings
        return next((sighting_line(each) for each in told if each.place == node), f"{kind:<8} {name}")
    return f"{kind:<8} {name}"


def tree_lines(registry: Registry, graph: Graph) -> list[str]:
    """The graph as trees, from what nothing stands above; what was asked for is marked.

    A model that came of a base and of a dataset stands below both.

    Raises:
        TrustError: the record of a release in it is damaged.
    """
    titles = _titles(registry)
    lines: list[str] = []

    def put(above: Node | None, node: Node, depth: int) -> None:
        mark = "   <-" if node in graph.nodes else ""
        lines.append(f"{'  ' * depth}{_line(registry, above, node, titles)}{mark}")
        if depth <= len(_ORDER):
            for edge in graph.edges:
                if edge[:2] == node:
                    put(node, edge[2:], depth + 1)

    roots = {edge[:2] for edge in graph.edges} - {edge[2:] for edge in graph.edges}
    for root in sorted(
        roots or set(graph.nodes), key=lambda node: (_ORDER.get(node[0], len(_ORDER)), node[1])
    ):
        put(None, root, 0)
    return lines
