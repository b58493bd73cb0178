#!/bin/sh
# Lists the packages in folders as a CycloneDX bill of materials, beside the code.
set -eu
[ -e /own ] || python3 -m venv --without-pip /own
printf '%s\n' "$@" >"$(echo /own/lib/python3*/site-packages)/folders.pth"
/inventory/bin/cyclonedx-py environment --pyproject=/project/pyproject.toml --output-reproducible \
  --output-file=/app/sbom.cdx.json /own/bin/python
