"""Part of the document against its model: every mistake of it, each at its place."""

from collections.abc import Iterable, Sequence
from pathlib import Path as FilePath
from typing import TypeVar

from pydantic import BaseModel, SecretStr, ValidationError
from pydantic_core import ErrorDetails

from edge_agent.config import wording
from edge_agent.config.exposure import exposure
from edge_agent.config.node import Document, Place
from edge_agent.config.problems import Path
from edge_agent.config.shape import known_keys, literal_secrets

M = TypeVar("M", bound=BaseModel)


def validate(
    document: Document, model: type[M], location: Sequence[str | int], *, allow_unknown_keys: bool = False
) -> M | None:
    """Return what stands at ``location`` as a ``model``, or None after reporting each of its mistakes."""
    node = document.locate(location).node
    literal = set(literal_secrets(model, node))
    if literal:
        message = wording.literal_secret(exposure(FilePath(document.file)))
        for place in sorted(literal, key=str):
            document.report((*location, *place), message)
    try:
        valid = model.model_validate(node.value)
    except ValidationError as exc:
        errors = [
            error
            for error in exc.errors(include_url=False)
            if not any(error["loc"][: len(place)] == place for place in literal)
            and not (allow_unknown_keys and error["type"] == "extra_forbidden")
        ]
        _Report(document, model, tuple(location)).add(errors)
        return None
    return None if literal or node.is_broken else valid


class _Report:
    """Reports the errors of one validation."""

    def __init__(self, document: Document, model: type[BaseModel], location: Path) -> None:
        self._document = document
        self._model = model
        self._location = location
        self._meant: set[tuple[Path, str]] = set()

    def add(self, errors: Iterable[ErrorDetails]) -> None:
        plain: list[tuple[ErrorDetails, Place]] = []
        unions: dict[Path, list[tuple[ErrorDetails, Place]]] = {}
        for error in errors:
            place = self._document.locate((*self._location, *error["loc"]))
            if place.is_broken:
                continue
            root = self._union(error, place)
            if root is None:
                plain.append((error, place))
            else:
                unions.setdefault(root, []).append((error, place))
        for root, found in unions.items():
            plain.extend(self._branch(root, found))
        for error, place in sorted(plain, key=lambda pair: pair[0]["type"] != "extra_forbidden"):
            self._add(error, place)

    def _union(self, error: ErrorDetails, place: Place) -> Path | None:
        """Return where the union stands of which ``error`` is in one branch; None if it is in no union."""
        labels = place.extra[:-1] if error["type"] == "missing" else place.extra
        if not labels or labels == ("[key]",):
            return None
        steps = (*self._location, *error["loc"])
        return self._document.locate(steps[: steps.index(labels[0])]).path

    def _branch(self, root: Path, found: list[tuple[ErrorDetails, Place]]) -> Iterable[tuple[ErrorDetails, Place]]:
        """Return the errors of the branch that was most likely meant; report at once if it is none of them."""
        branches: dict[object, list[tuple[ErrorDetails, Place]]] = {}
        for error, place in found:
            branches.setdefault(place.extra[0], []).append((error, place))
        near = [
            errors
            for errors in branches.values()
            if not any(place.path == root and error["type"] in wording.EXPECTED for error, place in errors)
        ]
        if near:
            return min(near, key=len)
        expected = {wording.EXPECTED[error["type"]] for error, _ in found if error["type"] in wording.EXPECTED}
        node = found[0][1].node
        if len(expected) == 1 or isinstance(node.value, SecretStr):
            return found[:1]
        self._document.report(root, wording.wrong_type(sorted(expected), node))
        return []

    def _add(self, error: ErrorDetails, place: Place) -> None:
        key = error["loc"][-1] if error["loc"] else ""
        match error["type"]:
            case "missing":
                self._missing(place, str(key))
            case "union_tag_not_found":
                self._missing(place, _discriminator(error))
            case "union_tag_invalid":
                location = (*place.path, _discriminator(error))
                self._document.report(location, wording.explain(error, self._document.locate(location).node))
            case "extra_forbidden":
                known = known_keys(self._model, error["loc"][:-1])
                self._meant.add((place.path[:-1], wording.close_to(key, known) or ""))
                self._document.report(place.path, wording.unknown_key(key, known), at_key=True)
            case kind:
                at_key = kind == "invalid_key" or place.extra == ("[key]",)
                message = wording.explain(error, place.key if at_key else place.node)
                self._document.report(place.path, message, at_key=at_key)

    def _missing(self, place: Place, key: str) -> None:
        if not place.node.is_partial and (place.path, key) not in self._meant:
            self._document.report((*place.path, key), wording.missing_key(key))


def _discriminator(error: ErrorDetails) -> str:
    return str(error["ctx"]["discriminator"]).strip("'")
