"""The lab: real services, PostgreSQL and Redis on this machine, broken on purpose, advised on, and mended."""
