"""`python -m otolith` is the command `otolith`."""

from otolith.cli.main import main

main()
