"""The tasks in which a model criticises: judges, critics that apply a solution, critiques of critiques, refinements.

`solutions` asks critics about solutions, `critiques` about critiques, `refinements` for corrected solutions after a
critique, and `replays` carries chains of equations over by program, without a model.
"""
