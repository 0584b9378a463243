"""led.py TARGET TIMES SEED OUTCOMES: run atheris on one target, in a project's folder.

A script, since the package would import what atheris has to see while it is imported.
"""

import json
import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["pipeline"]):
    from torture.fuzz import TARGETS


def main() -> None:
    name, times, seed, outcomes = sys.argv[1:]
    target = TARGETS[name](Path.cwd())
    corpus = Path(outcomes).with_name("corpus")
    corpus.mkdir(parents=True)
    (corpus / "right").write_bytes(target.content)
    with Path(outcomes).open("w") as answers:

        def one(content: bytes) -> None:
            answers.write(json.dumps(target.answer(content)) + "\n")
            answers.flush()

        options = [f"-runs={times}", f"-seed={seed}"]
        options.append("-rss_limit_mb=4096")  # an image of as many pixels as are accepted takes 2 GB
        atheris.Setup([sys.argv[0], *options, str(corpus)], one)
        atheris.Fuzz()  # ends the process


if __name__ == "__main__":
    main()
