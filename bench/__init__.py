"""How fast it is, each figure beside a reference from the same run: `python -m bench`."""
