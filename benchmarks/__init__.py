"""Measures the provider's promises about speed, calls, CPU, memory and imports, and compares it with plain boto3.

``python -m benchmarks`` runs the sections and writes ``docs/benchmarks.md``. Each section is a module.
"""
