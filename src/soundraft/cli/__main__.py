"""`python -m soundraft.cli`: the same as the command `soundraft`."""

from soundraft.cli import main

main()
