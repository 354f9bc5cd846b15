"""Convolutions by oneDNN, which PaddlePaddle brings along.

Paddle's own CPU kernel copies overlapping columns and multiplies matrices. oneDNN
(https://github.com/uxlfoundation/oneDNN), which PyTorch uses too, computes in blocks of channels
without that copy. Its C interface is called here, so nothing is compiled at installation.
"""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Callable, Sequence
from ctypes import byref, c_char_p, c_int, c_int64, c_size_t, c_void_p
from functools import cache, lru_cache
from itertools import accumulate
from operator import mul
from pathlib import Path
from threading import Lock
from typing import NamedTuple

import paddle

_KEPT = 1024
"""Geometries that are kept ready: those of a network, for many sizes of a batch."""

_LIBRARY = "libdnnl.so.3"
# From its dnnl_types.h.
_CPU, _IN_ORDER, _FLOAT32, _USER_SCRATCHPAD = 1, 1, 3, 1
_FORWARD_TRAINING, _DIRECT = 64, 1
_ANY_LAYOUT, _KERNEL_NAME = 1, 8
_FROM, _TO = 1, 17
_Sizes = c_int64 * 12
_DEVICE = "cpu"
"""Of all memory here, whatever the process uses otherwise"""


class Geometry(NamedTuple):
    """Sizes and options of a convolution over one or two axes, as in ``paddle.nn.functional``."""

    source: tuple[int, ...]
    """``(batch, in_channels, *axes)``"""
    weight: tuple[int, ...]
    """``(out_channels, in_channels / groups, *kernel)``"""
    stride: tuple[int, ...]
    padding: int
    """The zeros before and after each axis."""
    dilation: tuple[int, ...]
    groups: int

    @property
    def result(self) -> tuple[int, ...]:
        """``(batch, out_channels, *axes)``"""
        axes = zip(self.source[2:], self.weight[2:], self.stride, self.dilation, strict=True)
        positions = (
            (size + 2 * self.padding - dilation * (kernel - 1) - 1) // stride + 1
            for size, kernel, stride, dilation in axes
        )
        return (self.source[0], self.weight[0], *positions)

    @property
    def is_possible(self) -> bool:
        """Whether the sizes and options fit together and the result has a value."""
        axes = len(self.source) - 2
        if {len(self.weight) - 2, len(self.stride), len(self.dilation)} != {axes}:
            return False
        if min(*self.source, *self.weight, *self.stride, *self.dilation, self.groups) < 1:
            return False
        outputs, inputs = self.weight[:2]
        fits = self.source[1] == inputs * self.groups and outputs % self.groups == 0
        return fits and self.padding >= 0 and min(self.result) > 0

    @property
    def is_pointwise(self) -> bool:
        """Whether each position of the result comes from one position of the source."""
        return {*self.weight[2:], *self.stride} == {1} and self.padding == 0


class _Role(NamedTuple):
    """What a tensor is to a kernel: its numbers in a query and as an argument."""

    query: int
    argument: int


_SOURCE, _SOURCE_GRADIENT = _Role(129, 1), _Role(130, 129)
_WEIGHT, _WEIGHT_GRADIENT = _Role(131, 33), _Role(132, 161)
_RESULT, _RESULT_GRADIENT = _Role(133, 17), _Role(134, 145)
_SCRATCHPAD = _Role(136, 80)


class Convolution:
    """A convolution of contiguous float32 tensors of one geometry on the CPU, and its gradients.

    The same sizes and the same number of threads give the same bits.
    """

    def __init__(self, library: _Library, geometry: Geometry, *, blocks: bool) -> None:
        """With ``blocks`` a kernel chooses its layouts, mostly blocks of channels, and tensors are
        copied into them and back."""
        self._geometry = geometry
        groups, (outputs, *others) = geometry.groups, geometry.weight
        split = geometry.weight if groups == 1 else (groups, outputs // groups, *others)
        shapes = geometry.source, split, geometry.result
        x, w, y = plain = [library.plain_layout(shape) for shape in shapes]
        source, weight, result = map(library.any_layout, shapes) if blocks else plain
        window = (
            _Sizes(*geometry.stride),
            _Sizes(*(step - 1 for step in geometry.dilation)),
            *[_Sizes(*[geometry.padding] * len(geometry.stride))] * 2,  # before and after
        )
        forward = library.convolution(
            "forward", _FORWARD_TRAINING, _DIRECT, source, weight, None, result, *window
        )
        to_source = library.convolution(
            "backward_data", _DIRECT, source, weight, result, *window, forward
        )
        to_weight = library.convolution(
            "backward_weights", _DIRECT, source, weight, None, result, *window, forward
        )
        self.is_optimised = not any(map(library.is_reference, (forward, to_source, to_weight)))
        """Whether oneDNN has a kernel of this processor for each pass, and not just a loop."""
        self._forward = _Kernel(library, forward, (_SOURCE, x), (_WEIGHT, w), (_RESULT, y))
        self._to_source = _Kernel(
            library, to_source, (_RESULT_GRADIENT, y), (_WEIGHT, w), (_SOURCE_GRADIENT, x)
        )
        self._to_weight = _Kernel(
            library, to_weight, (_SOURCE, x), (_RESULT_GRADIENT, y), (_WEIGHT_GRADIENT, w)
        )

    def result(self, x: paddle.Tensor, weight: paddle.Tensor) -> paddle.Tensor:
        """The convolution of ``x``."""
        return self._forward(x, weight, self._geometry.result)

    def source_gradient(self, gradient: paddle.Tensor, weight: paddle.Tensor) -> paddle.Tensor:
        """The gradient of ``x``, from that of the result."""
        return self._to_source(gradient, weight, self._geometry.source)

    def weight_gradient(self, x: paddle.Tensor, gradient: paddle.Tensor) -> paddle.Tensor:
        """The gradient of the weight, from that of the result."""
        return self._to_weight(x, gradient, self._geometry.weight)


@lru_cache(_KEPT)
def convolution(geometry: Geometry) -> Convolution | None:
    """The convolution of a geometry; ``None`` if this build of Paddle brings no oneDNN 3, or that
    has no kernel of this processor for it."""
    library = _library()
    if library is None:
        return None
    # Of single positions it is a product of matrices, which is faster without copies into blocks.
    for blocks in (False, True) if geometry.is_pointwise else (True,):
        found = Convolution(library, geometry, blocks=blocks)
        if found.is_optimised:
            return found
    return None


@cache
def _library() -> _Library | None:
    path = Path(paddle.__file__).parent / "libs" / _LIBRARY
    return _Library(path) if path.exists() else None


class _Object:
    """An object of oneDNN's that lives as long as this one."""

    def __init__(self, handle: c_void_p, destroy: Callable[[c_void_p], int]) -> None:
        self.handle = self._as_parameter_ = handle  # ctypes passes the latter to functions
        weakref.finalize(self, destroy, handle).atexit = False


class _Argument(ctypes.Structure):
    _fields_ = (("number", c_int), ("memory", c_void_p))


class _Library:
    """The functions of oneDNN that are used here. One thread at a time runs kernels."""

    def __init__(self, path: Path) -> None:
        self._functions = ctypes.CDLL(str(path))
        self._functions.dnnl_primitive_desc_query_md.restype = c_void_p
        self._functions.dnnl_memory_desc_get_size.restype = c_size_t
        self._engine = self._made("engine", "engine_create", _CPU, c_size_t(0))
        self._stream = self._made("stream", "stream_create", self._engine, _IN_ORDER)
        self._options = self._made("primitive_attr", "primitive_attr_create")
        # With memory of the caller's a kernel may run in other threads than the one that made it.
        self._call("primitive_attr_set_scratchpad_mode", self._options, _USER_SCRATCHPAD)
        self.lock = Lock()

    def plain_layout(self, shape: Sequence[int]) -> _Object:
        """Contiguous, the last axis the fastest."""
        strides = [*accumulate(reversed(shape[1:]), mul, initial=1)][::-1]
        arguments = len(shape), _Sizes(*shape), _FLOAT32, _Sizes(*strides)
        return self._made("memory_desc", "memory_desc_create_with_strides", *arguments)

    def any_layout(self, shape: Sequence[int]) -> _Object:
        """The one that a kernel prefers."""
        arguments = len(shape), _Sizes(*shape), _FLOAT32, _ANY_LAYOUT
        return self._made("memory_desc", "memory_desc_create_with_tag", *arguments)

    def convolution(self, kind: str, *arguments: object) -> _Object:
        """The description of a kernel."""
        function = f"convolution_{kind}_primitive_desc_create"
        return self._made("primitive_desc", function, self._engine, *arguments, self._options)

    def kernel(self, description: _Object) -> _Object:
        return self._made("primitive", "primitive_create", description)

    def copy(self, source: _Object | c_void_p, target: _Object | c_void_p) -> _Object:
        """A kernel that copies from one layout to another."""
        arguments = source, self._engine, target, self._engine, None
        return self.kernel(
            self._made("primitive_desc", "reorder_primitive_desc_create", *arguments)
        )

    def preferred(self, description: _Object, role: _Role) -> c_void_p:
        """The layout of a tensor of a kernel. It lives as long as the description."""
        return c_void_p(self._functions.dnnl_primitive_desc_query_md(description, role.query, 0))

    def is_reference(self, description: _Object) -> bool:
        """Whether a kernel is written for no processor: it takes a hundred times as long."""
        name = c_char_p()
        self._call("primitive_desc_query", description, _KERNEL_NAME, 0, byref(name))
        return (name.value or b"").startswith(b"ref")

    def is_same(self, layout: _Object, other: c_void_p) -> bool:
        return bool(self._functions.dnnl_memory_desc_equal(layout, other))

    def size(self, layout: c_void_p) -> int:
        """In bytes."""
        return self._functions.dnnl_memory_desc_get_size(layout)

    def memory(self, layout: _Object | c_void_p) -> _Object:
        """A place for the data of a tensor."""
        return self._made("memory", "memory_create", layout, self._engine, None)

    def fill(self, memory: _Object, tensor: paddle.Tensor) -> None:
        """Use the data of a tensor, which must live until the kernel has run."""
        self._call("memory_set_data_handle", memory, c_void_p(tensor.data_ptr()))

    def run(self, kernel: _Object, *memories: tuple[int, _Object]) -> None:
        """Run a kernel to its end, with memories and their numbers as arguments."""
        arguments = [_Argument(number, memory.handle) for number, memory in memories]
        listed = (_Argument * len(arguments))(*arguments)
        self._call("primitive_execute", kernel, self._stream, len(arguments), listed)
        self._call("stream_wait", self._stream)

    def _made(self, kind: str, function: str, *arguments: object) -> _Object:
        handle = c_void_p()
        self._call(function, byref(handle), *arguments)
        return _Object(handle, self._functions[f"dnnl_{kind}_destroy"])

    def _call(self, function: str, *arguments: object) -> None:
        status = self._functions[f"dnnl_{function}"](*arguments)
        if status:
            raise RuntimeError(f"dnnl_{function} failed with status {status}")


class _Kernel:
    """A function of two plain tensors that gives a third one."""

    def __init__(
        self, library: _Library, description: _Object, *tensors: tuple[_Role, _Object]
    ) -> None:
        self._library = library
        self._kernel = library.kernel(description)
        first, second, result = tensors
        self._inputs = [_Operand(library, description, *each) for each in (first, second)]
        self._result = _Operand(library, description, *result, is_result=True)
        layout = library.preferred(description, _SCRATCHPAD)
        self._scratchpad, self._scratchpad_size = library.memory(layout), library.size(layout)

    def __call__(
        self, first: paddle.Tensor, second: paddle.Tensor, shape: Sequence[int]
    ) -> paddle.Tensor:
        result = paddle.empty(shape, "float32", device=_DEVICE)
        operands = [*self._inputs, self._result]
        scratchpad, *copies = map(
            _bytes, [self._scratchpad_size, *(each.size for each in operands)]
        )
        with self._library.lock:
            self._library.fill(self._scratchpad, scratchpad)
            for operand, *data in zip(operands, (first, second, result), copies, strict=True):
                operand.fill(*data)
            for operand in self._inputs:
                operand.copy()
            self._library.run(
                self._kernel,
                *((each.argument, each.memory) for each in operands),
                (_SCRATCHPAD.argument, self._scratchpad),
            )
            self._result.copy()
        return result


class _Operand:
    """A tensor of a kernel, and its copy in the kernel's layout if that is another one."""

    def __init__(
        self,
        library: _Library,
        description: _Object,
        role: _Role,
        plain: _Object,
        *,
        is_result: bool = False,
    ) -> None:
        self._library = library
        self.argument = role.argument
        self._plain = self.memory = library.memory(plain)
        self.size = 0
        """Bytes of the copy; 0 if there is none."""
        preferred = library.preferred(description, role)
        if library.is_same(plain, preferred):
            return
        self.memory, self.size = library.memory(preferred), library.size(preferred)
        layouts = (preferred, plain) if is_result else (plain, preferred)
        self._copy = library.copy(*layouts)
        memories = (self.memory, self._plain) if is_result else (self._plain, self.memory)
        self._copied = tuple(zip((_FROM, _TO), memories, strict=True))

    def fill(self, tensor: paddle.Tensor, copy: paddle.Tensor) -> None:
        self._library.fill(self._plain, tensor)
        if self.size:
            self._library.fill(self.memory, copy)

    def copy(self) -> None:
        """Copy the tensor into the kernel's layout, or the result out of it."""
        if self.size:
            self._library.run(self._copy, *self._copied)


def _bytes(size: int) -> paddle.Tensor:
    return paddle.empty([size], "uint8", device=_DEVICE)
