"""Fetch for a test in a process of its own: the hub's address is read once, when its client is imported.

Reads a line of JSON for each fetch (`corpus`, `cache`, `out`, and what the request is made of) and answers with one.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

from soundraft import corpora
from soundraft.corpora import CorpusError, Request


def answer(order: dict[str, Any]) -> dict[str, Any]:
    os.environ["SOUNDRAFT_CACHE"] = order["cache"]
    given = dict(order["request"])
    if "path" in given:
        given["path"] = Path(given["path"])
    try:
        fetched = corpora.fetch(order["corpus"], Request(**given), Path(order["out"]))
    except CorpusError as error:
        return {"error": str(error)}
    return {
        "clips": [clip.row() for clip in fetched.clips],
        "usable": fetched.usable,
        "rejected": [vars(bad) for bad in fetched.rejected],
        "root": str(fetched.root),
        "source": dict(fetched.source),
    }


if __name__ == "__main__":
    for line in sys.stdin:
        print(json.dumps(answer(json.loads(line))), flush=True)
