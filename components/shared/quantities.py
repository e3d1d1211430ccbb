"""Kubernetes quantities as options: always strings, because KFP resolves nothing else in a task's resource fields."""

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, Field
from pydantic_core import PydanticCustomError

from components.shared.options import Options


def _quantity(pattern: str, wanted: str) -> tuple[Any, BeforeValidator]:
    """Schema and validator of a string that matches `pattern`; `wanted` completes 'give ...' in errors."""

    def check(value: Any) -> Any:
        if not isinstance(value, str) or not re.fullmatch(pattern, value):
            raise PydanticCustomError("quantity", "{wanted}", {"wanted": wanted})
        return value

    return Field(pattern=f"^(?:{pattern})$"), BeforeValidator(check)


_COUNT = _quantity(r"\d+", 'a whole number as a string, such as "1" (--set "gpus=\'1\'")')
_CPU = _quantity(r"[1-9]\d*m?|\d+\.\d*[1-9]\d*", 'CPUs as a string, such as "4" or "250m" (--set "cpu=\'4\'")')
_MEMORY = _quantity(r"[1-9]\d*(?:[KMGT]i|[MGT])", 'memory with its unit as a string, such as "32Gi" or "512Mi"')

DeviceCount = Annotated[str, *_COUNT]
"""A number of accelerators; "0": none."""
Cpu = Annotated[str, *_CPU]
"""CPUs, or thousandths of one with the suffix m."""
Memory = Annotated[str, *_MEMORY]
"""Bytes with a unit."""


class StepResources(Options):
    """Resources of a training step's own pod: parameters of the pipelines that KFP puts into its resource fields."""

    gpus: DeviceCount = "1"
    """GPUs of a training step's pod."""
    cpu: Cpu = "8"
    """CPU request and limit of a training step's pod."""
    memory: Memory = "32Gi"
    """Memory request and limit of a training step's pod."""
