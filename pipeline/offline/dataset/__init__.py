"""A dataset: what flowed through Kafka, as Parquet files with a manifest that says exactly what they hold."""
