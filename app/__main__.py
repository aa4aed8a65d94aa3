"""`python -m app` is `dropout-service`."""

from app.cli.main import main

main()
