"""Requests made up from the description of the service are answered as it describes."""

from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import checks
from schemathesis.generation import GenerationMode

from rowscan.reader import Reader
from rowscan.server.app import create_app

checks.load_all_checks()
CHECKS = [
    checks.CHECKS.get_one(name)
    for name in (
        "not_a_server_error",
        "status_code_conformance",
        "content_type_conformance",
        "response_headers_conformance",
        "response_schema_conformance",
        "unsupported_method",
    )
]
PICTURE = (Path(__file__).parent.parent / "examples" / "digits" / "7-13.png").read_bytes()
"""Small, and there is something in it to read."""


@pytest.fixture(scope="module")
def operations() -> list[Any]:
    """The operations of the service."""
    schemathesis.openapi.media_type("image/*", st.just(PICTURE) | st.binary(max_size=200))
    app = create_app(Reader(), threads=1)
    schema: Any = schemathesis.openapi.from_asgi("/openapi.json", app)
    return [found.ok() for found in schema.get_all_operations()]


@pytest.mark.parametrize("count", [30, pytest.param(2000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
def test_the_service_answers_as_it_describes(
    operations: list[Any], mode: GenerationMode, count: int
) -> None:
    @settings(
        max_examples=count, deadline=None, database=None, suppress_health_check=list(HealthCheck)
    )
    @given(st.sampled_from(operations).flatmap(lambda operation: operation.as_strategy(mode)))
    def check(case: Any) -> None:
        case.call_and_validate(checks=CHECKS)

    check()
