"""The testers of specification 001, by its names and with its results' keys.

They measure functions of this process, and one function in Lambda; `lambent_lab.measure` has their names.
What they say differently from the specification, and why, stands in docs/design/measuring.md.
"""
