"""The companion as a DICOM object: what it takes over, where it comes from, how it is marked, and its own check."""
