"""A beating left ventricle with known truth."""
