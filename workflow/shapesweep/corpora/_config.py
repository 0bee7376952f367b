"""The configuration of the corpora: the text, and how the text is cut into documents."""

from typing import Literal

from pydantic import Field

from shapesweep.validation import AnyPath, Strict


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


class CorpusConfig(Strict):
    """The text of the corpora, and how it is cut into documents."""

    text: AnyPath = Field(
        "stdlib",
        description="`stdlib` (Python's documentation, without the part that the embedded suite "
        "is trained on), or the path of a UTF-8 text file",
    )
    sampling: Literal["windows", "paper"] = Field(
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
