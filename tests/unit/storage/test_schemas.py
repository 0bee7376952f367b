"""Every table that has a corpus identifies the text of the corpus."""

import pyarrow as pa

from shapesweep.storage import schemas


def test_every_table_with_a_corpus_has_the_digest_of_the_text():
    tables = {name: value for name, value in vars(schemas).items() if isinstance(value, pa.Schema)}
    with_corpus = {name for name, schema in tables.items() if "corpus" in schema.names}
    assert {"GEOMETRY", "REPLICATES", "LOSSES", "ORIGINS", "BUDGETS", "TRAJECTORIES"} <= with_corpus
    assert {name for name in with_corpus if "text_sha256" not in tables[name].names} == set()
