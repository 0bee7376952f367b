"""The configuration of the corpora: the text, and how the text is cut into documents."""

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, PrivateAttr, model_validator

from shapesweep.corpora._sources import check_text
from shapesweep.validation import Strict, at

#: A text of the corpora.
TextName = Annotated[str, AfterValidator(check_text)]
Sampling = Literal["windows", "paper"]


def _check_name(name: str) -> str:
    # The name becomes a part of the names of corpora, in which `.` and `-` separate the parts.
    if not re.fullmatch("[A-Za-z0-9_]{1,40}", name):
        raise ValueError("write a name of at most 40 letters, digits and '_'")
    return name


class LastConfig(Strict):
    """Short documents, of which only the last token is measured."""

    documents: int = Field(
        1024,
        ge=2,
        description="maximum number of short documents; a short text contains fewer documents",
    )
    length: int = Field(20, ge=4, description="tokens per short document, including special tokens")


class PassagesConfig(Strict):
    """Short documents, of which tokens at random positions are measured."""

    documents: int = Field(
        1200,
        ge=2,
        description="maximum number of short documents, which is the number N of points of each "
        "estimate; the relative error of TwoNN is about 1/√N, which is 3 % for 1,112 points",
    )
    length: int = Field(20, ge=4, description="tokens per short document, including special tokens")


class Variant(Strict):
    """Another text, or other documents. Absent keys have the values of `corpus`."""

    text: TextName | None = Field(None, description="another text")
    sampling: Sampling | None = Field(None, description="another sampling")
    documents: int | None = Field(None, ge=2, description="another number of documents")
    length: int | None = Field(None, ge=4, description="another number of tokens per document")
    seed: int | None = Field(None, ge=0, description="another random seed")


class CorpusConfig(Strict):
    """The text of the corpora, and how it is cut into documents."""

    text: TextName = Field(
        "stdlib",
        description="`paper` (the text of the paper, which is fetched once), `stdlib` (Python's "
        "documentation, without the part that the embedded suite is trained on; it differs between "
        "versions of Python), the path of a UTF-8 text file, or a column of a data set on the Hub, "
        "`hf://datasets/<repository>@<commit>/<path>.parquet#<column>` (its first 64 million "
        "characters)",
    )
    sampling: Sampling = Field(
        "windows",
        description="`windows`: documents of equal length from the whole text; `paper`: "
        "exactly the 128 chunks of 512 characters that the paper drew with seed 0",
    )
    documents: int = Field(128, ge=2, description="number of documents")
    length: int = Field(64, ge=4, description="tokens per document, including special tokens")
    seed: int = Field(0, ge=0, description="random seed for sampling documents")
    samples: int = Field(
        1,
        ge=1,
        le=99,
        description="number of independent samples of documents for every corpus; each sample is "
        "measured, and gets its own verdict on the two phases",
    )
    last: LastConfig = Field(LastConfig(), description="documents of the corpus `last`")
    passages: PassagesConfig = Field(
        PassagesConfig(), description="documents of the corpus `passages`"
    )
    variants: dict[Annotated[str, AfterValidator(_check_name)], Variant] = Field(
        {},
        description="further texts, or documents of other lengths, by name; each variant sets some "
        "of the keys `text`, `sampling`, `documents`, `length` and `seed`; its corpora are named "
        "`<corpus>.<variant>`",
        examples=["{long: {length: 512}}", "{code: {text: code.txt}}"],
    )

    #: Key of the configuration, for error messages.
    _key: str = PrivateAttr("corpus")

    @property
    def key(self) -> str:
        """The key of the configuration: `corpus`, or `corpus.variants.<name>` for a variant."""
        return self._key

    @model_validator(mode="after")
    def _check_variants(self) -> "CorpusConfig":
        for name, variant in self.variants.items():
            if not any(value is not None for value in dict(variant).values()):
                raise at(["variants", name], f"sets no key; write {{{name}: {{length: 512}}}}")
        return self

    def variant(self, name: str) -> "CorpusConfig":
        """Return the configuration of a variant; `""` is the configuration without variants."""
        changes: dict[str, Any] = {"variants": {}}
        if name:
            given = dict(self.variants[name]).items()
            changes |= {key: value for key, value in given if value is not None}
        found = self.model_copy(update=changes)
        if name:
            found._key = f"corpus.variants.{name}"
        return found

    @property
    def texts(self) -> list[str]:
        """All texts, without duplicates, with the text of the key `text` first."""
        others = [variant.text for variant in self.variants.values() if variant.text]
        return list(dict.fromkeys([self.text, *others]))
