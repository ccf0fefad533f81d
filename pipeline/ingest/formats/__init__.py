"""The formats that messages come in: a decoder a file, all of them listed in `registry`."""
