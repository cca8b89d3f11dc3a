"""The gate: whether a candidate may replace its base. PASS, FAIL or INCONCLUSIVE, with what decided it.

`gating` runs the pairs, `decision` has the statistics, `checks` the rules, `config` the limits, `section` and
`words` say what came of it; `counting` and `counts` are for what needs no statistics.
"""
