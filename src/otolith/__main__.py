"""`python -m otolith` is the command `otolith`."""

from otolith.cli import main

main()
