import uuid

import pytest

from edge_agent_opcua.node_id import NodeAddress, parse_node_id


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("i=2258", NodeAddress(2258)),
        ("ns=2;i=5", NodeAddress(5, namespace_index=2)),
        ("ns=0;i=85", NodeAddress(85)),
        ("s=Spindle", NodeAddress("Spindle")),
        ("ns=3;s=a;b=c", NodeAddress("a;b=c", namespace_index=3)),
        ('ns=3;s="DB1"."x"[0]', NodeAddress('"DB1"."x"[0]', namespace_index=3)),
        ("nsu=http://example.com/cnc;s=主轴.转速", NodeAddress("主轴.转速", "http://example.com/cnc")),
        ("nsu=urn:a%3Bb%2525;i=1", NodeAddress(1, "urn:a;b%25")),
        (
            "ns=1;g=72962B91-FA75-4AE6-8D28-B404DC7DAF63",
            NodeAddress(uuid.UUID("72962b91-fa75-4ae6-8d28-b404dc7daf63"), namespace_index=1),
        ),
        ("ns=1;b=AP8=", NodeAddress(b"\x00\xff", namespace_index=1)),
    ],
)
def test_node_ids_are_understood(text: str, expected: NodeAddress) -> None:
    assert parse_node_id(text) == expected


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "is not a node id"),
        ("2258", "is not a node id"),
        ("i=", "is not a node id"),
        ("ns=2;", "is not a node id"),
        ("ns=x;i=1", "is not a node id"),
        ("nsu=;i=1", "is not a node id"),
        (" i=1", "is not a node id"),
        ("ns=65536;i=1", "greater than 65535"),
        ("i=4294967296", "whole number from 0 to 4294967295"),
        ("i=-1", "whole number"),
        ("i=1.5", "whole number"),
        ("i=\N{ARABIC-INDIC DIGIT TWO}", "whole number"),
        ("g=123", "not a GUID"),
        ("b=***", "not Base64"),
        ("s=a\nb", "cannot be printed"),
        ("s=" + "x" * 4097, "at most 4096 characters"),
    ],
)
def test_other_texts_are_refused_with_the_reason(text: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        parse_node_id(text)


def test_namespaces_are_found_by_uri_wherever_the_server_has_them() -> None:
    node = parse_node_id("nsu=http://example.com/cnc;s=x")
    assert node.index_in(["http://opcfoundation.org/UA/", "urn:me", "http://example.com/cnc"]) == 2
    assert node.index_in(["http://opcfoundation.org/UA/", "http://example.com/cnc"]) == 1
    assert node.index_in(["http://opcfoundation.org/UA/"]) is None


def test_an_index_as_written_holds_and_the_core_namespace_is_always_zero() -> None:
    assert parse_node_id("ns=7;i=1").index_in([]) == 7
    assert parse_node_id("nsu=http://opcfoundation.org/UA/;i=2258").index_in([]) == 0
