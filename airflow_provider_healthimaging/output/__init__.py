"""What becomes of search hits: records, and datasets in S3 with their manifest, checkpoint and lineage."""
