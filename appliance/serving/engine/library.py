"""libllama through ctypes: one loaded model with one context of several sequences.

Only this module touches pointers. It runs in the engine's process and nowhere else.
"""

from __future__ import annotations

import contextlib
import ctypes
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import llama_cpp.llama_cpp as llama
import numpy as np

from appliance.errors import ModelError, ServingError
from appliance.serving.sampling import Sampling

if TYPE_CHECKING:
    from numpy.typing import NDArray

BATCH = 512  # tokens in one llama_decode
_LOG_ERROR, _LOG_CONTINUES = 4, 5


class _Log:
    """llama.cpp's log: warnings and errors to stderr, the last error kept as the reason of a failed load."""

    def __init__(self) -> None:
        self.last_error = ""
        self._shown = False
        self.callback = llama.llama_log_callback(self._write)
        llama.llama_log_set(self.callback, ctypes.c_void_p(0))

    def _write(self, level: int, text: bytes, _data: Any) -> None:
        if level != _LOG_CONTINUES:
            self._shown = level >= _LOG_ERROR - 1
        if self._shown:
            line = text.decode("utf-8", "replace")
            if level == _LOG_ERROR:
                self.last_error = line.strip()
            sys.stderr.write(line)
            sys.stderr.flush()


def _load_cpu_variants() -> None:
    package = Path(llama.__file__).parent
    variants = package.parent / "bin"
    if not variants.is_dir():
        return  # a build with its one CPU variant linked in
    # The name that libllama is linked to: `libggml.so` beside it is a second copy with a registry of its own.
    ggml = ctypes.CDLL(str(package / "lib" / "libggml.so.0"))
    ggml.ggml_backend_load_all_from_path.argtypes = [ctypes.c_char_p]
    ggml.ggml_backend_load_all_from_path.restype = None
    ggml.ggml_backend_load_all_from_path(str(variants).encode())


class Batch:
    """A `llama_batch` over arrays that we own, filled token by token."""

    def __init__(self, capacity: int, sequences: int) -> None:
        self.capacity = capacity
        self.size = 0
        self._tokens = (ctypes.c_int32 * capacity)()
        self._positions = (ctypes.c_int32 * capacity)()
        self._counts = (ctypes.c_int32 * capacity)(*([1] * capacity))
        self._outputs = (ctypes.c_int8 * capacity)()
        self._cells = [(ctypes.c_int32 * 1)(number) for number in range(sequences)]
        pointer = ctypes.POINTER(ctypes.c_int32)
        self._cell_pointers = [ctypes.cast(cell, pointer) for cell in self._cells]
        self._all = (ctypes.c_int32 * sequences)(*range(sequences))
        self._all_pointer = ctypes.cast(self._all, pointer)
        self._sequences = (pointer * capacity)()
        self.struct = llama.llama_batch()
        self.struct.token = ctypes.cast(self._tokens, type(self.struct.token))
        self.struct.pos = ctypes.cast(self._positions, type(self.struct.pos))
        self.struct.n_seq_id = ctypes.cast(self._counts, type(self.struct.n_seq_id))
        self.struct.seq_id = ctypes.cast(self._sequences, type(self.struct.seq_id))
        self.struct.logits = ctypes.cast(self._outputs, type(self.struct.logits))

    def clear(self) -> None:
        """Forget all tokens."""
        self.size = 0

    def add(self, token: int, position: int, sequence: int, output: bool) -> int:
        """Append a token; returns its index, which names its logits if `output`."""
        index = self.size
        self._tokens[index] = token
        self._positions[index] = position
        self._counts[index] = 1
        self._sequences[index] = self._cell_pointers[sequence]
        self._outputs[index] = output
        self.size = index + 1
        return index

    def add_to_all(self, token: int, position: int, output: bool) -> int:
        """Append a token that every sequence begins with; else as `add`."""
        index = self.add(token, position, 0, output)
        self._counts[index] = len(self._all)
        self._sequences[index] = self._all_pointer
        return index


class Model:
    """A GGUF in memory, ready to decode.

    Args:
        path: the GGUF.
        slots: sequences side by side.
        context: tokens that one sequence may hold; never more than the model was trained for.
        threads: CPU threads.

    Raises:
        ModelError: not a model that llama.cpp can load.
        ServingError: not enough memory for the context.
    """

    def __init__(self, path: Path, slots: int, context: int, threads: int) -> None:
        self._log = _Log()
        _load_cpu_variants()
        llama.llama_backend_init()
        parameters = llama.llama_model_default_params()
        parameters.check_tensors = True  # a block of NaN is found here, not in the middle of an answer
        self._model = llama.llama_model_load_from_file(str(path).encode(), parameters)
        if not self._model:
            reason = self._log.last_error or "llama.cpp gave no reason"
            raise ModelError(f"{path}: can't be loaded: {reason}", "check that it is a complete GGUF model")
        self.vocab = llama.llama_model_get_vocab(self._model)
        self.vocabulary: int = llama.llama_vocab_n_tokens(self.vocab)
        self.adds_bos: bool = llama.llama_vocab_get_add_bos(self.vocab)
        self.slots = slots
        trained = int(llama.llama_model_n_ctx_train(self._model))
        self.context = min(context, trained) if trained > 0 else context
        options = llama.llama_context_default_params()
        # One pool of cells for all sequences: a shared prefix is then stored once.
        options.n_ctx = self.context * slots
        options.kv_unified = True
        options.n_seq_max = slots
        options.n_batch = BATCH
        options.n_ubatch = BATCH
        options.n_threads = threads
        options.n_threads_batch = threads
        options.no_perf = True
        self._context = llama.llama_init_from_model(self._model, options)
        if not self._context:
            raise ServingError(
                f"no room for {slots} slots of {self.context} tokens: {self._log.last_error}",
                "use fewer slots or a shorter context",
            )
        self._memory = llama.llama_get_memory(self._context)
        self._pieces: dict[int, bytes | None] = {}
        self._warm_up()

    def _warm_up(self) -> None:
        batch = Batch(1, 1)
        batch.add(0, 0, 0, True)
        self.decode(batch)
        self.forget(0)

    # What the model is

    def metadata(self, key: str) -> str:
        """A value of the GGUF's metadata as text; empty if it isn't there."""
        size = 4096
        while True:
            buffer = ctypes.create_string_buffer(size)
            length = llama.llama_model_meta_val_str(self._model, key.encode(), buffer, size)
            if length < 0:
                return ""
            if length < size:
                return buffer.value.decode("utf-8", "replace")
            size = length + 1

    @property
    def chat_template(self) -> str:
        """Jinja source; empty if the model has none."""
        found = llama.llama_model_chat_template(self._model, None)
        return found.decode("utf-8", "replace") if found else ""

    @property
    def description(self) -> str:
        """Architecture, size and type in llama.cpp's words."""
        buffer = ctypes.create_string_buffer(256)
        llama.llama_model_desc(self._model, buffer, 256)
        return buffer.value.decode("utf-8", "replace")

    @property
    def parameters(self) -> int:
        """Number of weights."""
        return int(llama.llama_model_n_params(self._model))

    @property
    def width(self) -> int:
        """Numbers of a hidden state."""
        return int(llama.llama_model_n_embd(self._model))

    @property
    def build(self) -> str:
        """llama.cpp's version and the CPU features in use."""
        version = llama.llama_version().decode()
        return f"{version}; {llama.llama_print_system_info().decode().strip()}"

    def token_text(self, token: int) -> str:
        """A special token as it stands in the vocabulary; empty for "none"."""
        if token < 0:
            return ""
        found = llama.llama_vocab_get_text(self.vocab, token)
        return found.decode("utf-8", "replace") if found else ""

    @property
    def bos(self) -> str:
        """Text of the begin-of-sequence token."""
        return self.token_text(llama.llama_vocab_bos(self.vocab))

    @property
    def eos(self) -> str:
        """Text of the end-of-sequence token."""
        return self.token_text(llama.llama_vocab_eos(self.vocab))

    # Text and tokens

    def tokenize(self, text: str) -> list[int]:
        """Token ids of `text`, special tokens recognised; a begin token only if the model asks for one."""
        data = text.encode("utf-8", "replace")
        room = len(data) + 8  # no tokenizer gives more tokens than bytes, begin and end apart
        tokens = (ctypes.c_int32 * room)()
        add_special = self.adds_bos and not text.startswith(self.bos)
        count = llama.llama_tokenize(self.vocab, data, len(data), tokens, room, add_special, True)
        if count < 0:
            raise ServingError(f"llama.cpp can't tokenize a text of {len(data)} bytes")
        return tokens[:count]

    def piece(self, token: int) -> bytes | None:
        """The bytes that a token stands for; None for one that ends the answer. Remembered once asked."""
        try:
            return self._pieces[token]
        except KeyError:
            pass
        found: bytes | None
        if llama.llama_vocab_is_eog(self.vocab, token):
            found = None
        else:
            size = 256
            buffer = ctypes.create_string_buffer(size)
            length = llama.llama_token_to_piece(self.vocab, token, buffer, size, 0, False)
            if length < 0:
                size = -length
                buffer = ctypes.create_string_buffer(size)
                length = llama.llama_token_to_piece(self.vocab, token, buffer, size, 0, False)
            found = buffer.raw[:length]
        self._pieces[token] = found
        return found

    # Decoding

    def decode(self, batch: Batch) -> int:
        """Compute a batch; llama_decode's status: 0 done, 1 no free cells, else a fault."""
        batch.struct.n_tokens = batch.size
        return int(llama.llama_decode(self._context, batch.struct))

    def sampler(self, sampling: Sampling, seed: int) -> int:
        """A chain of llama.cpp's samplers; free it with `free_sampler`."""
        chain = llama.llama_sampler_chain_init(llama.llama_sampler_chain_default_params())
        if sampling.temperature <= 0:
            llama.llama_sampler_chain_add(chain, llama.llama_sampler_init_greedy())
        else:
            if sampling.top_k > 0:
                llama.llama_sampler_chain_add(chain, llama.llama_sampler_init_top_k(sampling.top_k))
            if sampling.top_p < 1:
                llama.llama_sampler_chain_add(chain, llama.llama_sampler_init_top_p(sampling.top_p, 1))
            if sampling.min_p > 0:
                llama.llama_sampler_chain_add(chain, llama.llama_sampler_init_min_p(sampling.min_p, 1))
            llama.llama_sampler_chain_add(chain, llama.llama_sampler_init_temp(sampling.temperature))
            llama.llama_sampler_chain_add(chain, llama.llama_sampler_init_dist(seed))
        found: int = chain
        return found

    def free_sampler(self, chain: int) -> None:
        """Give a chain back."""
        llama.llama_sampler_free(chain)

    def sample(self, chain: int, index: int) -> int:
        """Choose the token after the batch's token `index`; the chain takes note of it."""
        token: int = llama.llama_sampler_sample(chain, self._context, index)
        return token

    def logits_are_numbers(self, index: int) -> bool:
        """Whether the logits after the batch's token `index` hold no NaN."""
        pointer = llama.llama_get_logits_ith(self._context, index)
        if not pointer:
            return False
        return not bool(np.isnan(np.ctypeslib.as_array(pointer, (self.vocabulary,))).any())

    def logits(self, index: int) -> NDArray[np.float32]:
        """The logits after the batch's token `index`, of the whole vocabulary; what is changed here is sampled from."""
        pointer = llama.llama_get_logits_ith(self._context, index)
        if not pointer:
            raise ServingError(f"llama.cpp has no logits of the batch's token {index}")
        return np.ctypeslib.as_array(pointer, (self.vocabulary,))

    def margin(self, index: int) -> float:
        """Gap between the two largest logits after the batch's token `index`; infinite where one alone is allowed."""
        second, first = np.partition(self.logits(index), -2)[-2:]
        return float(first - second)

    def log_total(self, index: int) -> float:
        """Natural logarithm of the sum of the exponentials of the logits after the batch's token `index`."""
        logits = self.logits(index)
        largest = logits.max()
        return float(largest + np.log(np.exp(logits - largest).sum()))

    @contextlib.contextmanager
    def embedding(self) -> Iterator[None]:
        """While it lasts, the last layer's hidden states are kept beside the logits."""
        llama.llama_set_embeddings(self._context, True)
        try:
            yield
        finally:
            llama.llama_set_embeddings(self._context, False)

    def hidden(self, index: int) -> NDArray[np.float32]:
        """(width,): the last layer's state, normalised, at the batch's token `index`; within `embedding`."""
        pointer = llama.llama_get_embeddings_ith(self._context, index)
        if not pointer:
            raise ServingError(f"llama.cpp has no hidden state of the batch's token {index}")
        return np.ctypeslib.as_array(pointer, (self.width,))

    # Memory of the sequences

    def forget(self, sequence: int, from_position: int = 0) -> None:
        """Drop what a sequence holds from a position on."""
        if not llama.llama_memory_seq_rm(self._memory, sequence, from_position, -1):
            llama.llama_memory_seq_rm(self._memory, sequence, -1, -1)

    def can_keep_prefix(self) -> bool:
        """Whether a sequence can be cut at any position (recurrent models can't)."""
        return not (llama.llama_model_is_recurrent(self._model) or llama.llama_model_is_hybrid(self._model))

    def share_prefix(self, source: int, target: int, length: int) -> None:
        """Let `target` hold the first `length` tokens of `source`; the cells are shared, not copied."""
        llama.llama_memory_seq_cp(self._memory, source, target, 0, length)

    def forget_all(self) -> None:
        """Empty the memory of all sequences."""
        llama.llama_memory_clear(self._memory, True)
