"""The names of other libraries, for programs that were written for them. Loaded by such programs only."""
