"""What a training shows on the console: the plan, its warnings, its progress. log.txt has everything."""
