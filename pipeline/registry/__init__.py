"""The registry of trained models: immutable versions in a folder or object store, and which of them is live."""
