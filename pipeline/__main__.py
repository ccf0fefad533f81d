"""`python -m pipeline` is `duri`."""

from pipeline.cli import main

main()
