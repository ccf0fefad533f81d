"""Conformance: real producers publish to a real Kafka, and what they sent is what arrives (`make conformance`)."""
