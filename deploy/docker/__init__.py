"""Images of the services: `make images`, or `python -m deploy.docker`."""
