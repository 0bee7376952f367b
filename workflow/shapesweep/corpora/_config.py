"""The configuration of the corpora: which text, and how it is cut into documents."""

from typing import Literal

from pydantic import Field

from shapesweep.validation import AnyPath, Strict


class LastConfig(Strict):
    """The documents of which only the last token is measured."""

    documents: int = Field(
        1024, ge=2, description="how many short documents at most; as many as the text holds"
    )
    length: int = Field(20, ge=4, description="tokens of such a document, special ones included")


class CorpusConfig(Strict):
    """What text is shown to the models, and how it is cut into documents."""

    text: AnyPath = Field(
        "stdlib",
        description="`stdlib`: Python's documentation, held out from the embedded suite's "
        "training; or a UTF-8 text file",
    )
    sampling: Literal["windows", "paper"] = Field(
        "windows",
        description="`windows`: documents of equal length from all over the text; `paper`: the "
        "paper's 128 chunks of 512 characters, seed 0, exactly",
    )
    documents: int = Field(128, ge=2, description="how many documents")
    length: int = Field(64, ge=4, description="tokens of a document, special ones included")
    seed: int = Field(0, ge=0, description="of the documents' drawing")
    last: LastConfig = Field(
        LastConfig(), description="the documents of the corpus `last`, if it is asked for"
    )
