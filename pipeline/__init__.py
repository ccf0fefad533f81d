"""The flow: metric samples in on Kafka, tuning recommendations out on Kafka."""
