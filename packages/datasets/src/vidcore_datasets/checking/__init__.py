"""`vid data check`: decode every file and report the broken ones."""
