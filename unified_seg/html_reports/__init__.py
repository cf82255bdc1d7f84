"""Reports as HTML pages that need no other file: of data sets, and of evaluations."""
