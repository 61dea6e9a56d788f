#!/bin/sh
# Renew the pins for development: the newest of everything, and Airflow 2.11 with a botocore that cuts time bounds.
# Usage: constraints.sh UV
set -eu
pin() {
    target=$1
    shift
    printf '%s\n' "$@" | "$UV" pip compile --quiet --no-header --no-annotate --no-emit-index-url --no-emit-find-links \
        --python-version 3.11 --universal --extra local --extra pixels --group dev --group bench --group distributed --group docs \
        --group mutate \
        --group screenshots \
        --constraint - --output-file "$target" pyproject.toml
}
UV=$1
pin constraints.txt 'apache-airflow>=3.3,<3.4'
pin constraints-2.11.txt 'apache-airflow>=2.11,<2.12' 'botocore==1.43.90'
