"""Event source mappings: queues that are polled, and the functions that their messages are handed to."""
