from street_fixtures import compact, full, fused, image, metadata, record, street, table  # noqa: F401  (fixtures)
