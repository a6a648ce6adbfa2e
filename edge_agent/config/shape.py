"""What a config model says of a place in the document: which keys may stand there, which hold secrets."""

from collections.abc import Iterator, Sequence
from functools import cache
from typing import get_args

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from edge_agent.config.node import Node

Location = tuple[str | int, ...]


def keys(model: type[BaseModel]) -> dict[str, FieldInfo]:
    """Return key as written in YAML → field."""
    return {field.alias or name: field for name, field in model.model_fields.items()}


def known_keys(model: type[BaseModel], location: Sequence[str | int]) -> list[str]:
    """Return the keys that may stand in the mapping at ``location`` of a ``model``; of all branches of a union."""
    models = [model]
    for step in location:
        found = [keys(each)[step] for each in models if isinstance(step, str) and step in keys(each)]
        if found:  # else the step is a position in a list or the label of a branch
            models = [inner for field in found for inner in _models(field.annotation)]
    return sorted({key for each in models for key in keys(each)})


def models_in(model: type[BaseModel]) -> list[type[BaseModel]]:
    """Return the models that the fields of ``model`` are made of, in order."""
    return list(dict.fromkeys(inner for field in keys(model).values() for inner in _models(field.annotation)))


def literal_secrets(model: type[BaseModel], node: Node, location: Location = ()) -> Iterator[Location]:
    """Yield where a secret is written in the document itself instead of named by a tag."""
    if holds(model, SecretStr):
        for key, field in keys(model).items():
            if key in node.children:
                yield from _literals(field.annotation, node.children[key][1], (*location, key))


@cache
def holds(model: type[BaseModel], kind: type) -> bool:
    """Return whether a field of ``model``, or of a model in it, can be a ``kind``."""
    return any(
        kind in _types(field.annotation)
        or any(inner is not model and holds(inner, kind) for inner in _models(field.annotation))
        for field in model.model_fields.values()
    )


def _literals(annotation: object, node: Node, location: Location) -> Iterator[Location]:
    models = _models(annotation)
    is_secret = SecretStr in _types(annotation)
    for position, item in enumerate(node.items):
        yield from _literals(annotation, item, (*location, position))
    for key, (_, value) in node.children.items() if is_secret and not models else ():
        yield from _literals(annotation, value, (*location, key))
    for inner in models if node.children else ():
        yield from literal_secrets(inner, node, location)
    if is_secret and node.text is not None and node.value is not None and not isinstance(node.value, SecretStr):
        yield location


def _models(annotation: object) -> list[type[BaseModel]]:
    return [found for found in _types(annotation) if issubclass(found, BaseModel)]


def _types(annotation: object) -> list[type]:
    """Return the plain types in a union, container or ``Annotated``."""
    arguments = get_args(annotation)
    if not arguments:
        return [annotation] if isinstance(annotation, type) else []
    return [found for argument in arguments for found in _types(argument)]
