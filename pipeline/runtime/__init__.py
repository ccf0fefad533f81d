"""Runtime: the stages on Kafka, exactly once, with snapshots, telemetry and an embedded broker."""
