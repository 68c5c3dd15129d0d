"""The experiments of `stepmark demo --full`: does the loop close, and what does each part of it bring?

One module an experiment, on the embedded domain, where every answer and step can be checked exactly. Each is a
function from a folder to `Findings`; `running` runs them one after the other, and goes on where an earlier run
stopped. `findings` holds what all of them return and how it becomes a page.
"""
