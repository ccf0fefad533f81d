"""Benchmarks: each `bench_*` module prints one JSON line."""
