"""Audits of reward models: does the model weigh what was asked, or how it looks."""
