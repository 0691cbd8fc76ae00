"""Measures of trained features.

Every measure is a function of arrays. At each validation, `validation.validation_figures` gives the val/* metrics, and
`callbacks.ValidationAnalysis` adds geometry/* and drift/*. At the end of a run, `analysis_json.write_analysis` writes
the parts of analysis.json, see parts.py.

How to add a figure of every evaluation (`val/<name>`, `test/<name>`): compute it from arrays in a file of this folder,
with a test on a case worked by hand, and add it to the dictionary of `validation_figures`. If runs may be compared by
it (`objective=val/<name>`), add its name to OBJECTIVES in model/config/best.py. To add a part of analysis.json
instead, see parts.py.
"""
