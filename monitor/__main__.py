"""`python -m monitor` is `kedge`."""

from monitor.cli import main

main()
