"""Mutants of files that may come from a stranger: made from a seed, used in a process of their own
with a limit of memory.

``python mutants.py KIND FIRST LAST FOLDER`` prints a JSON line for each mutant before and after it
is used, so that the parent knows which one hung or killed the process.
"""

from __future__ import annotations

import importlib
import json
import random
import resource
import shutil
import sqlite3
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from absurd_options import ABSURD
from peak_memory import peak_memory

EXTREMES = (0, 1, -1, 7, 255, 2**16, 2**31 - 1, 2**31, 2**40, 2**63 - 1, -(2**63))
MOST_BYTES = 2**30
_ADDRESS_SPACE = 3 * 2**30
"""Above what the process has: a mutant that asks for more gets an error at once."""


def mutated_bytes(data: bytes, rng: random.Random) -> bytes:
    """Flipped, removed, repeated and inserted bytes; numbers of four or eight bytes replaced."""
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 4, 16))):
        at = rng.randrange(max(len(changed), 1))
        size = rng.choice((1, 2, 4, 8, 64))
        match rng.randrange(7):
            case 0:
                changed[at : at + 1] = bytes([rng.randrange(256)])
            case 1:
                changed[at : at + 1] = bytes([1 << rng.randrange(8)])
            case 2:
                del changed[at : at + size]
            case 3:
                changed[at:at] = changed[at : at + size] * rng.choice((1, 2, 50))
            case 4:
                changed[at:at] = rng.randbytes(size)
            case 5:
                width = rng.choice((4, 8))
                number = rng.choice(EXTREMES) % 2 ** (8 * width)
                changed[at : at + width] = number.to_bytes(width, rng.choice(("little", "big")))
            case 6:
                del changed[at:]
    return bytes(changed)


def mutated_value(value: Any, rng: random.Random) -> Any:
    """A JSON value with a few places changed: replaced, removed, repeated, exchanged."""
    changed = json.loads(json.dumps(value))
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        places = list(_places(changed))
        if not places:
            break
        holder, key = rng.choice(places)
        match rng.randrange(5):
            case 0 | 1:
                holder[key] = rng.choice((*EXTREMES, 1e300, "", "x", None, True, [], {}, [[]]))
            case 2:
                del holder[key]
            case 3:
                holder[key] = json.loads(json.dumps(_at(rng.choice(places))))
            case 4:
                holder[key] = [holder[key]] * rng.choice((1, 2, 100))
    return changed


def _places(value: Any) -> Any:
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in list(items):
        yield value, key
        if isinstance(inner, dict | list):
            yield from _places(inner)


def _at(place: tuple[Any, Any]) -> Any:
    holder, key = place
    return holder[key]


class Pickles:
    """A weights file, read as one."""

    def __init__(self, sample: Path) -> None:
        from vprtrain.checkpoint.arrays import decode_arrays

        self.data = (sample / "checkpoint" / "model.pdparams").read_bytes()
        self.read = decode_arrays

    def use(self, folder: Path, rng: random.Random) -> None:
        self.read(mutated_bytes(self.data, rng), "model.pdparams")


class Torch:
    """A file of torch.save in one of its two formats."""

    def __init__(self, sample: Path) -> None:
        from vprtrain.conversion.torch_file import read_torch_tensors

        self.files = [path.read_bytes() for path in sorted((sample / "torch").iterdir())]
        self.read = read_torch_tensors

    def use(self, folder: Path, rng: random.Random) -> None:
        path = folder / "model.pt"
        path.write_bytes(mutated_bytes(rng.choice(self.files), rng))
        self.read(path)


class Model:
    """A saved model of which one file is changed and signed again; it is opened and used."""

    def __init__(self, sample: Path, name: str, *files: str) -> None:
        import numpy as np

        from vprtrain.extractors.opening import open_extractor

        self.sample, self.files, self.open = sample / name, files, open_extractor
        noise = np.random.default_rng(0).standard_normal(16_000) / 10
        self.waveforms = [noise.astype("float32"), noise[:12_000].astype("float32")]

    def use(self, folder: Path, rng: random.Random) -> None:
        copy = folder / "model"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(self.sample, copy)
        name = rng.choice(self.files)
        (copy / name).write_bytes(self.mutant((copy / name).read_bytes(), name, rng))
        sign(copy)
        chosen = next((name for name in self.files if name.startswith("inference.")), None)
        extractor = self.open(copy / chosen if chosen else copy, "cpu")
        extractor.embed(self.waveforms)

    def mutant(self, data: bytes, name: str, rng: random.Random) -> bytes:
        """A changed file; a graph or a state is changed as the value that it is, as a rule."""
        if name.endswith((".json", ".state")) and rng.random() < 0.85:
            value = json.loads(data)
            # How the classes of a model take their arguments is tested with these classes.
            specs = {key: value.pop(key) for key in ("model", "feature", "loss") if key in value}
            return json.dumps({**specs, **mutated_value(value, rng)}).encode()
        if name.endswith(".onnx") and rng.random() < 0.7:
            return mutated_onnx(data, rng)
        return mutated_bytes(data, rng)


class Specs(Model):
    """A checkpoint whose model, feature, loss, head or audio format has other values."""

    KEYS = ("model", "feature", "loss", "num_classes", "num_speakers", "sample_rate", "channel")

    def mutant(self, data: bytes, name: str, rng: random.Random) -> bytes:
        if not name.endswith(".state"):  # config.yaml, for checkpoints without a sample rate
            return f"data: {{sample_rate: {rng.choice(EXTREMES)}}}".encode()
        state = json.loads(data)
        own = {key: state.pop(key) for key in self.KEYS}
        for _ in range(rng.choice((1, 1, 2))):
            part = own[rng.choice(("model", "model", "feature", "loss"))]
            part["class_path"] = rng.choice((*[part["class_path"]] * 5, *self.classes(part)))
            options = part["init_args"]
            options[rng.choice(list(options))] = rng.choice(ABSURD)
        if rng.random() < 0.4:
            own = mutated_value(own, rng)
        return json.dumps({"schema": state.pop("schema"), **own, **state}).encode()

    def classes(self, part: dict[str, Any]) -> list[str]:
        """The paths of all classes of the same room."""
        room = part["class_path"].rpartition(".")[0]
        return [f"{room}.{name}" for name in importlib.import_module(room).__all__]


def sign(folder: Path) -> None:
    """Update every digest of a checkpoint, as an attacker would."""
    from vprtrain.checkpoint.state_file import STATE_FILE, encode_state
    from vprtrain.files import sha256

    try:
        state = json.loads((folder / STATE_FILE).read_bytes())
        state.pop("sha256", None)
        for name in state["files"]:
            state["files"][name] = sha256((folder / name).read_bytes())
        (folder / STATE_FILE).write_bytes(encode_state(state))
    except (ValueError, TypeError, LookupError, AttributeError, OSError):
        return  # the mutant of the state is not a state: it stays as it is


def mutated_onnx(data: bytes, rng: random.Random) -> bytes:
    """A model that is still a protobuf message; operators, attributes and constants differ."""
    import onnx

    model = onnx.load_from_string(data)
    graph = model.graph
    operators = sorted({node.op_type for node in graph.node} | {"Loop", "If", "ConstantOfShape"})
    for _ in range(rng.choice((1, 1, 2, 3))):
        node = rng.choice(graph.node)
        match rng.randrange(7):
            case 0:
                node.op_type = rng.choice(operators)
            case 1 if node.input:
                node.input[rng.randrange(len(node.input))] = rng.choice(
                    rng.choice(graph.node).output
                )
            case 2:
                graph.node.remove(node)
            case 3 if node.attribute:
                attribute = rng.choice(node.attribute)
                attribute.i = rng.choice(EXTREMES)
                if attribute.ints:
                    attribute.ints[rng.randrange(len(attribute.ints))] = rng.choice(EXTREMES)
                if attribute.t.dims:
                    attribute.t.dims[0] = rng.choice(EXTREMES)
                if attribute.t.raw_data:
                    attribute.t.raw_data = mutated_bytes(attribute.t.raw_data, rng)
            case 4 if graph.initializer:
                constant = rng.choice(graph.initializer)
                constant.dims[:] = [*constant.dims, rng.choice(EXTREMES)]
            case 5 if graph.initializer:
                constant = rng.choice(graph.initializer)
                constant.data_type = rng.randrange(24)
            case _:
                values = rng.choice((graph.input, graph.output))
                shape = values[0].type.tensor_type.shape
                shape.dim[0].dim_value = rng.choice(EXTREMES)
    return bytes(model.SerializeToString())


class Sqlite:
    """A database of voiceprints: opened, listed, searched, checked, changed."""

    CHANGES = (
        "UPDATE voiceprints SET voiceprint = ? WHERE user = 1",
        "UPDATE users SET code = ? WHERE id = 1",
        "UPDATE recordings SET embedding = ? WHERE id = 2",
        "UPDATE users SET name = ? WHERE id = 2",
        "UPDATE meta SET value = ?",
        "UPDATE changes SET user = ?",
        "UPDATE recordings SET user = ?",
        "UPDATE recordings SET enrolled_at = ?",
        "UPDATE recordings SET purpose = ?",
    )

    def __init__(self, sample: Path) -> None:
        import numpy as np

        from vprtrain.voiceprints.database import Voiceprints

        self.data = (sample / "voiceprints.db").read_bytes()
        self.open = Voiceprints
        self.probe = np.random.default_rng(0).standard_normal(8).astype("float32")

    def use(self, folder: Path, rng: random.Random) -> None:
        for old in folder.glob("voiceprints.db*"):
            old.unlink()
        path = folder / "voiceprints.db"
        if rng.random() < 0.3:
            path.write_bytes(self.data)
            self.change(path, rng)
        else:
            path.write_bytes(mutated_bytes(self.data, rng))
        opened = self.open(path, model=None, timeout=1)
        try:
            for call in rng.sample(
                (
                    opened.users,
                    lambda: opened.nearest(self.probe),
                    opened.check,
                    lambda: opened.add("ann", self.probe),
                    lambda: opened.remove("bob"),
                    lambda: opened.export("ann"),
                    opened.compact,
                ),
                7,
            ):
                call()
        finally:
            opened.close()

    def change(self, path: Path, rng: random.Random) -> None:
        values = (None, "", "x" * 300, "\x1b[2J", 7, 1.5, b"", b"\0" * 31, b"\xff" * 32, b"\0" * 32)
        db = sqlite3.connect(path, isolation_level=None)
        try:
            db.execute("PRAGMA foreign_keys = OFF")
            db.execute(rng.choice(self.CHANGES), (rng.choice(values),))
        except sqlite3.IntegrityError:
            return  # SQLite itself refuses this value
        finally:
            db.close()


KINDS: dict[str, Callable[[Path], Any]] = {
    "pickles": Pickles,
    "torch": Torch,
    "checkpoint": lambda sample: Model(sample, "checkpoint", "model.state", "model.pdparams"),
    "specs": lambda sample: Specs(sample, "checkpoint", "model.state", "config.yaml"),
    "static": lambda sample: Model(sample, "exported", "inference.json", "inference.pdiparams"),
    "onnx": lambda sample: Model(sample, "exported", "inference.onnx"),
    "sqlite": Sqlite,
}


def main(kind: str, first: int, last: int, sample: Path, folder: Path) -> None:
    from vprtrain.errors import VprTrainError

    used = KINDS[kind](sample)
    own = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (own + _ADDRESS_SPACE, own + _ADDRESS_SPACE))
    for number in range(first, last):
        print(json.dumps({"begun": number}), flush=True)
        Path("/proc/self/clear_refs").write_text("5")  # the peak memory begins anew
        before, start = peak_memory(), time.monotonic()
        outcome, said = "right", ""
        try:
            used.use(folder, random.Random(f"{kind} {number}"))
        except VprTrainError as error:
            outcome, said = "refused", str(error)
        except Exception as error:
            outcome, said = "raw", f"{type(error).__name__}: {error}"[:300]
        seconds, growth = time.monotonic() - start, peak_memory() - before
        line = {"number": number, "outcome": outcome, "said": said, "seconds": seconds}
        print(json.dumps({**line, "bytes": growth}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4]), Path(sys.argv[5]))
