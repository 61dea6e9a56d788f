"""What the provider promises about speed, calls, CPU, memory and imports, measured beside plain boto3.

``python -m benchmarks`` runs the sections and writes ``docs/benchmarks.md``; each section is a module of its own.
"""
