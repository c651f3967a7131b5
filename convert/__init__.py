"""Checkpoint (and LoRA adapter) in, GGUF out, and back: one streaming pass, without torch.

    errors.py            the one error
    durable.py           files and folders that appear whole or not at all
    libggml.py           llama.cpp's own quantizer, reached through ctypes
    safetensors_file.py  checkpoints' weights: checked, memory-mapped
    gguf_file.py         GGUF: checked reading, ordered writing
    architectures.py     the one table of known models: names, permutations, hyperparameters
    vocabulary.py        tokenizers, from Hugging Face's files to GGUF's keys and back
    pretokenizers.py     the one table of known pre-tokenizers
    lora.py              peft's adapters
    to_gguf.py           checkpoint (+ adapter) -> GGUF
    to_checkpoint.py     GGUF -> checkpoint

It knows nothing of the appliance and can be used alone.
"""

from convert.errors import ConvertError

__all__ = ["ConvertError"]
