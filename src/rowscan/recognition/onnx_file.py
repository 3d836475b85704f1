"""ONNX files: checked before ONNX Runtime opens them, since a file can come from a stranger.

A graph is a program. A file is refused if an operator in it is not one that `training.graph`
writes: among the others are loops without a bound and tensors of any size. It reads as much of the
protocol buffers as it needs (https://protobuf.dev/programming-guides/encoding, onnx/onnx.proto).
"""

from collections.abc import Iterator

from rowscan.errors import ModelError

OPERATORS = frozenset(
    {
        "Add",
        "Cast",
        "Concat",
        "Div",
        "Gather",
        "Gemm",
        "Identity",
        "LSTM",
        "LayerNormalization",
        "MatMul",
        "Mul",
        "Neg",
        "Relu",
        "Reshape",
        "Scan",
        "Shape",
        "Sigmoid",
        "Slice",
        "Softmax",
        "Split",
        "Squeeze",
        "Sub",
        "Transpose",
        "Unsqueeze",
    }
)
"""What the graphs of Rowscan's models are made of. A Scan has as many steps as its input."""

_MAX_BYTES = 64_000_000
"""Of a file; the largest model that ships has 2 MB."""
_MAX_DEPTH = 4  # of graphs within graphs: a Scan has one

# Numbers of fields in onnx.proto.
_GRAPH, _METADATA = 7, 14  # of a ModelProto
_NODE = 1  # of a GraphProto
_OPERATOR, _ATTRIBUTE, _DOMAIN = 4, 5, 7  # of a NodeProto
_SUBGRAPH, _SUBGRAPHS = 6, 11  # of an AttributeProto
_KEY, _VALUE = 1, 2  # of a StringStringEntryProto


def check(name: str, content: bytes) -> dict[str, str]:
    """Check a model file, and return its metadata.

    Args:
        name: its name in errors.
        content: the file.

    Raises:
        ModelError: it is damaged, too large, or holds what no model of Rowscan holds.
    """
    if len(content) > _MAX_BYTES:
        raise ModelError(name, f"expected at most {_MAX_BYTES // 1_000_000} MB")
    metadata = {}
    try:
        for number, value in _fields(content):
            if number == _GRAPH:
                for operator in _operators(value, 0):
                    if operator not in OPERATORS:
                        raise ModelError(name, f"unsupported operator {operator!r}")
            elif number == _METADATA:
                entry = dict(_fields(value))
                metadata[entry[_KEY].decode()] = entry[_VALUE].decode()
    except (ValueError, IndexError, KeyError):
        raise ModelError(name, "not a model file, or a damaged one") from None
    return metadata


def _operators(graph: bytes, depth: int) -> Iterator[str]:
    """The operators of a graph and of those within it, with a domain if they have one."""
    if depth > _MAX_DEPTH:
        raise ValueError("graphs within graphs")
    for number, node in _fields(graph):
        if number != _NODE:
            continue
        operator, domain = "", ""
        for part, value in _fields(node):
            if part == _OPERATOR:
                operator = value.decode()
            elif part == _DOMAIN:
                domain = value.decode()
            elif part == _ATTRIBUTE:
                for field, inner in _fields(value):
                    if field in (_SUBGRAPH, _SUBGRAPHS):
                        yield from _operators(inner, depth + 1)
        yield f"{domain}.{operator}" if domain not in ("", "ai.onnx") else operator


def _fields(message: bytes) -> Iterator[tuple[int, bytes]]:
    """The fields of a message that hold bytes: text, messages and packed numbers."""
    at = 0
    while at < len(message):
        tag, at = _integer(message, at)
        number, kind = tag >> 3, tag & 7
        if kind == 0:
            _, at = _integer(message, at)
        elif kind in (1, 5):
            at += 8 if kind == 1 else 4
        elif kind == 2:
            length, at = _integer(message, at)
            yield number, message[at : at + length]
            at += length
        else:
            raise ValueError("a wire type that is no longer used")
    if at != len(message):
        raise ValueError("truncated")


def _integer(message: bytes, at: int) -> tuple[int, int]:
    """A number of variable length, and where it ends."""
    value = shift = 0
    while True:
        byte = message[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
        if shift > 63:
            raise ValueError("a number of more than 64 bits")
