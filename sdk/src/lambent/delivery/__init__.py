"""When spans leave the process."""
