"""Engines that sample from language models, and the tasks built on them, one module per task."""
