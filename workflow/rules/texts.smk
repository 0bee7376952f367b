# Input: the web or the Hub. Output: the texts of the corpora that are not files of the user, in
# <results>/texts/, each with its sha256. A text is fetched once, verified, and kept in the cache of
# the Hub's client (HF_HOME). The rule runs where the sweep was started, because the nodes of a
# cluster may have no network.
FETCHED = {
    fetched_file(text): text for text in CONFIG.corpus.texts if fetched_file(text)
}


rule text:
    output:
        text=f"{RESULTS}/texts/{{file}}.txt",
        digest=f"{RESULTS}/texts/{{file}}.sha256",
    log:
        f"{RESULTS}/logs/texts/{{file}}.log",
    wildcard_constraints:
        file="[A-Za-z0-9._-]+",
    localrule: True
    params:
        text=lambda w: FETCHED.get(f"{w.file}.txt", w.file),
    message:
        "fetching the text {params.text}"
    shell:
        "shapesweep text {params.text:q} --copy {output.text:q} > {log:q} 2>&1"
