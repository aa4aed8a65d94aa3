"""`python -m app` is `dropout-service`."""

from app.cli import main

main()
