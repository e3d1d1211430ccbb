"""The model runtime of a bundle: onnxruntime, or torch for native code.

The record is part of the bundle, so the signed manifest covers it; bundles without a record use onnxruntime.
"""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from components.shared.errors import BundleError, InputError
from components.shared.storage import read_json, write_json

Runtime = Literal["onnxruntime", "aotinductor"]
RECORD = "runtime.json"
_SUFFIX: dict[Runtime, str] = {"onnxruntime": ".onnx", "aotinductor": ".pt2"}


@dataclass(frozen=True, kw_only=True)
class RuntimeRecord:
    """Runtime requirements of a bundle's graphs; for onnxruntime all fields except `name` are empty."""

    name: Runtime = "onnxruntime"
    """Runtime of the graphs."""
    torch: str = ""
    """Torch release that native code was built with, such as '2.13.0'; other releases may not run it correctly."""
    machine: str = ""
    """Processor architecture of native code, as returned by `platform.machine()`."""
    cpu: tuple[str, ...] = ()
    """Instruction sets that native code uses, by their names in /proc/cpuinfo."""

    def graphs(self, folder: Path) -> tuple[Path, Path]:
        """Files of the user tower and of the ranker in a compiled model or bundle."""
        suffix = _SUFFIX[self.name]
        return folder / "retriever" / f"user{suffix}", folder / "ranker" / f"ranker{suffix}"

    def facts(self) -> dict[str, str]:
        """The record as strings for the manifest's lineage; {} for onnxruntime."""
        if self == RuntimeRecord():
            return {}
        cpu = " ".join([self.machine, *self.cpu])
        return {"runtime": self.name, "runtime_torch": self.torch, "runtime_cpu": cpu}

    def write(self, folder: Path) -> None:
        """Write runtime.json."""
        write_json(folder / RECORD, dataclasses.asdict(self))

    @classmethod
    def read(cls, folder: Path) -> "RuntimeRecord":
        """Read the record of a compiled model or bundle.

        Raises:
            BundleError: the record is invalid, or this release does not support its runtime.
        """
        path = folder / RECORD
        if not path.exists():
            return cls()
        try:
            value = read_json(path)
            record = cls(**{**value, "cpu": tuple(value["cpu"])})
        except (InputError, TypeError, KeyError) as error:
            raise BundleError(
                f"{path} cannot be read: {error}", "compile the model again with this shoprank version"
            ) from error
        if record.name not in _SUFFIX:
            raise BundleError(
                f"{path} has runtime '{record.name}', but this version supports {', '.join(get_args(Runtime))}",
                "serve it with the shoprank version that compiled it, or compile the model again",
            )
        return record
