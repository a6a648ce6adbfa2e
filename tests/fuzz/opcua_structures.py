"""Any structures, as a server may define and send them: our reading of them beside asyncua's, which is the oracle.

``python -m tests.fuzz.opcua_structures 100000 [SEED]`` prints what became of them and fails at the first structure
that breaks a rule: as it was encoded it is read, field by field as asyncua reads it; damaged, it is void, or what
is read is what asyncua reads in it; nothing but ``MalformedError`` comes out.

asyncua knows nothing of a matrix in a structure. One that is sent flat is an array for it; of one with its sizes
ahead the oracle is told that it is an array of numbers, which are the sizes, and then that many fields.
"""

import asyncio
import itertools
import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from asyncua import ua
from asyncua.common.structures104 import make_structure
from asyncua.common.utils import Buffer
from asyncua.ua import ua_binary

from edge_agent_opcua import convert
from edge_agent_opcua.binary import BuiltIn, MalformedError, Structure, Value
from edge_agent_opcua.definitions import address_of, structures_of
from edge_agent_opcua.structure import Definitions, whole
from tests.fuzz.command import command
from tests.fuzz.opcua_messages import Fuzzer, Messages
from tests.fuzz.opcua_oracle import NoSayError, plain

Kind = ua.VariantType
KINDS = [
    Kind.Boolean, Kind.SByte, Kind.Byte, Kind.Int16, Kind.UInt16, Kind.Int32, Kind.UInt32, Kind.Int64, Kind.UInt64,
    Kind.Float, Kind.Double, Kind.String, Kind.DateTime, Kind.Guid, Kind.ByteString, Kind.NodeId, Kind.StatusCode,
    Kind.QualifiedName, Kind.LocalizedText,
]  # fmt: skip
FORMS = [
    ua.StructureType.Structure,
    ua.StructureType.StructureWithOptionalFields,
    ua.StructureType.Union,
]
SCALAR, ARRAY, MATRIX = -1, 1, 2
_numbers = itertools.count(1)


@dataclass
class Part:
    """One field: of a built-in kind, or a structure."""

    name: str
    of: "Any | Type"
    rank: int = SCALAR
    is_optional: bool = False
    sizes: tuple[int, int] = (0, 0)
    is_flat: bool = False

    @property
    def data_type(self) -> Any:
        return self.of.node if isinstance(self.of, Type) else ua.NodeId(self.of.value)

    def told(self) -> Any:
        """Return the definition that the server tells."""
        sizes = self.sizes if self.rank == MATRIX else ()
        return _field(self.name, self.data_type, self.rank, sizes, is_optional=self.is_optional)

    def for_oracle(self) -> Iterator[Any]:
        """Yield the fields that asyncua is told in its place."""
        if self.rank != MATRIX or self.is_flat:
            yield _field(self.name, self.data_type, min(self.rank, ARRAY), is_optional=self.is_optional)
            return
        yield _field(f"{self.name}_sizes", ua.NodeId(Kind.Int32.value), ARRAY)
        for number in range(math.prod(self.sizes)):
            yield _field(f"{self.name}_{number}", self.data_type, SCALAR)


def _field(name: str, data_type: Any, rank: int, sizes: Sequence[int] = (), *, is_optional: bool = False) -> Any:
    return ua.StructureField(
        Name=name, DataType=data_type, ValueRank=rank, ArrayDimensions=list(sizes), IsOptional=is_optional
    )


@dataclass
class Type:
    """A type of structures, and what asyncua makes of it."""

    form: Any
    parts: Sequence[Part]
    node: Any = field(default_factory=lambda: ua.NodeId(next(_numbers), 9))

    def __post_init__(self) -> None:
        name = f"Fuzzed{self.node.Identifier}"
        fields = [one for part in self.parts for one in part.for_oracle()]
        oracle = ua.StructureDefinition(StructureType=self.form, Fields=fields)
        self.oracle: Any = make_structure(self.node, name, oracle)[name]
        ua.extension_objects_by_datatype[self.node] = self.oracle
        self.told = ua.StructureDefinition(
            DefaultEncodingId=ua.NodeId(self.node.Identifier, 8),
            StructureType=self.form,
            Fields=[part.told() for part in self.parts],
        )

    @property
    def has_flat_matrix(self) -> bool:
        return any(
            (part.rank == MATRIX and part.is_flat) or (isinstance(part.of, Type) and part.of.has_flat_matrix)
            for part in self.parts
        )

    def forget(self) -> None:
        """Take it out of asyncua's tables again."""
        del ua.extension_objects_by_datatype[self.node]
        delattr(ua, self.oracle.__name__)


class Structures:
    """Makes types and what is of them."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self._make = Messages(chance)
        self._is_flat = False  # how the server of the types sends matrices

    def types(self) -> list[Type]:
        """Return some types, of which each may have the ones before as fields."""
        known: list[Type] = []
        self._is_flat = self.chance.random() < 0.5
        for _ in range(self.chance.randint(1, 4)):
            form = self.chance.choice(FORMS)
            parts = [self._part(number, form, known) for number in range(self.chance.randint(1, 6))]
            known.append(Type(form, parts))
        return known

    def one_of(self, type_: Type) -> Any:
        """Return something of a type."""
        if type_.form == ua.StructureType.Union:
            made = type_.oracle()
            if self.chance.random() < 0.9:
                part = self.chance.choice(type_.parts)
                setattr(made, part.name, self._content(part))
            return made
        fields: dict[str, Any] = {}
        for part in type_.parts:
            if part.rank == MATRIX and not part.is_flat:
                fields[f"{part.name}_sizes"] = list(part.sizes)
                fields |= {f"{part.name}_{i}": self._scalar(part.of) for i in range(math.prod(part.sizes))}
            else:
                fields[part.name] = self._content(part)
        return type_.oracle(**fields)

    def _part(self, number: int, form: Any, known: Sequence[Type]) -> Part:
        of = self.chance.choice(known) if known and self.chance.random() < 0.3 else self.chance.choice(KINDS)
        rank = self.chance.choice([SCALAR, SCALAR, ARRAY, MATRIX])
        is_optional = form == ua.StructureType.StructureWithOptionalFields and self.chance.random() < 0.5
        if form == ua.StructureType.Union:
            rank = SCALAR  # asyncua has no arrays in unions
        elif rank == MATRIX and is_optional:
            rank = ARRAY
        sizes = self.chance.randint(1, 3), self.chance.randint(1, 3)
        return Part(f"F{number}", of, rank, is_optional, sizes, self._is_flat)

    def _content(self, part: Part) -> Any:
        if part.is_optional and self.chance.random() < 0.5:
            return None
        if part.rank == SCALAR:
            return self._scalar(part.of)
        count = math.prod(part.sizes) if part.rank == MATRIX else self.chance.randrange(4)
        return [self._scalar(part.of) for _ in range(count)]

    def _scalar(self, of: Any) -> Any:
        return self.one_of(of) if isinstance(of, Type) else self._make.content(of)


def oracle_of(type_: Type, content: Any) -> dict[str, Any]:
    """Return what asyncua's object is as JSON.

    Raises:
        NoSayError: a matrix has other sizes than it was told.
    """
    parts = type_.parts
    if type_.form == ua.StructureType.Union:
        if content.Encoding == 0:
            return {}
        parts = [parts[content.Encoding - 1]]
        return {parts[0].name: _oracle_field(parts[0], content.Value)}
    told: dict[str, Any] = {}
    for part in parts:
        if part.rank == MATRIX and not part.is_flat:
            if getattr(content, f"{part.name}_sizes") != list(part.sizes):
                raise NoSayError
            inside = [getattr(content, f"{part.name}_{i}") for i in range(math.prod(part.sizes))]
            told[part.name] = _oracle_field(part, inside)
        else:
            told[part.name] = _oracle_field(part, getattr(content, part.name))
    return told


def _oracle_field(part: Part, content: Any) -> Any:
    if part.rank == SCALAR:
        return _oracle_scalar(part.of, content)
    elements = [_oracle_scalar(part.of, one) for one in content or []]
    rows, columns = part.sizes
    if part.rank == MATRIX and len(elements) == rows * columns:
        return [elements[i : i + columns] for i in range(0, len(elements), columns)]
    return elements


def _oracle_scalar(of: Any, content: Any) -> Any:
    if content is None:
        return None
    return oracle_of(of, content) if isinstance(of, Type) else plain(of, content)


def definitions_of(types: Sequence[Type]) -> Definitions:
    """Return what the driver learns of the types."""
    told = {type_.node: type_.told for type_ in types}

    async def read(nodes: Sequence[Any], _: int) -> Sequence[Any]:
        return [ua.DataValue(ua.Variant(told[it]) if it in told else ua.Variant()) for it in nodes]

    return asyncio.run(structures_of(None, read, [type_.node for type_ in types]))


class StructureFuzzer(Fuzzer):
    """Gives both the same structures, whole and damaged."""

    def run(self, count: int) -> None:
        """Try ``count`` structures; of each that is made, one whole and four damaged."""
        structures = Structures(self.chance)
        while self.messages < count:
            types = structures.types()
            definitions = definitions_of(types)
            for _ in range(5):
                body = bytes(ua_binary.struct_to_binary(structures.one_of(types[-1])))
                outcome = self._compare(types[-1], definitions, body, is_damaged=False)
                # An empty matrix may look as one of small numbers that is flat, and is not guessed.
                assert outcome in ("same", "ambiguous"), (outcome, types[-1].parts, body.hex())
                for _ in range(4) if len(body) > 4 else ():
                    self._compare(types[-1], definitions, self.chance.choice(self._ways)(body))
                self._earlier = body or self._earlier
            for type_ in types:
                type_.forget()

    def _compare(self, type_: Type, definitions: Definitions, body: bytes, *, is_damaged: bool = True) -> str:
        self.messages += 1
        outcome = compared(type_, definitions, body, is_damaged=is_damaged)
        self.outcomes[outcome] += 1
        return outcome


def compared(type_: Type, definitions: Definitions, body: bytes, *, is_damaged: bool) -> str:
    """Return what became of a structure: "same", "void", or ours alone."""
    value = Value(BuiltIn.EXTENSION_OBJECT, Structure(address_of(type_.node), body))
    try:
        read = whole(value, definitions)
    except MalformedError as exc:
        return "ambiguous" if "2 ways" in str(exc) else "void"
    mine = convert.plain(read.kind, read)
    if is_damaged and type_.has_flat_matrix:
        return "asyncua has no say"  # it may have become one with its sizes ahead
    rest = Buffer(body)
    try:
        oracle = oracle_of(type_, ua_binary.struct_from_binary(type_.oracle, rest))
    except NoSayError:
        return "asyncua has no say"
    except Exception:  # noqa: BLE001 - it fails with anything
        return "asyncua fails"
    if _without_null(mine) == _without_null(oracle):
        return "same"
    # There are two ways to read a matrix; asyncua may have taken the one that leaves something over.
    assert len(rest), f"{type_.parts} {body.hex()}: ours {mine}, asyncua {oracle}"
    return "asyncua has no say"


def _without_null(told: Any) -> Any:
    """Leave out fields that are null or empty: asyncua tells them from absent ones no more."""
    if isinstance(told, dict):
        fields = {name: _without_null(one) for name, one in told.items()}
        return {name: one for name, one in fields.items() if one not in (None, [], {})}
    return [_without_null(one) for one in told] if isinstance(told, list) else told


if __name__ == "__main__":
    command(StructureFuzzer, StructureFuzzer.run, lambda one: f"{one.messages:,} structures")
